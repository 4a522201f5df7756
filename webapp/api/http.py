"""The API's frame: tokens, budgets, request bodies, errors, and the documentation page without a CDN."""

from __future__ import annotations

import logging
from typing import Any

import orjson
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, InternalError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.docs import DocsBase
from ninja.parser import Parser
from ninja.security.http import HttpAuthBase

from ordersaga.database import first_line
from ordersaga.log import LogEvent
from webapp.api.models import Scope
from webapp.api.problems import CONTENT_TYPE, Problem, field_error
from webapp.api.tokens import Client, authenticate
from webapp.orders.exceptions import IdempotencyConflict, OrderRefused

logger = logging.getLogger(__name__)

MAX_BODY = 2 * 1024 * 1024
"""Bytes of a request's body; a thousand orders of five lines need half of it."""
REMEDIES = {
    "missing": "Add it",
    "extra_forbidden": "Remove it",
    "string_pattern_mismatch": "Use only the characters that the pattern allows",
}


class ScopedToken(HttpAuthBase):
    """Admits requests whose bearer token has a scope and is within its budget."""

    openapi_name = "token"
    openapi_scheme = "bearer"

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> Client:
        """Check the header itself, so that every refusal is a :class:`Problem`."""
        kind, _, secret = request.headers.get("Authorization", "").partition(" ")
        client = authenticate(secret.strip()) if kind.lower() == "bearer" and secret else None
        if client is None:
            raise Problem(
                401,
                "unauthorized",
                "Send the header `Authorization: Bearer <token>` with a valid token.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        request.api_client = client  # type: ignore[attr-defined]
        if client.used > client.per_minute:
            raise Problem(
                429,
                "too-many-requests",
                f"This token may send {client.per_minute} requests per minute. Wait {client.reset} seconds.",
                headers={"Retry-After": str(client.reset)},
            )
        if self.scope not in client.scopes:
            raise Problem(403, "forbidden", f"This needs a token with the scope {self.scope.value}.")
        return client


class JsonParser(Parser):
    """Bodies are JSON in UTF-8, of limited size and depth."""

    def parse_body(self, request: HttpRequest) -> Any:
        """The parsed body.

        :raises Problem: when it is too large or not JSON.
        """
        if int(request.headers.get("Content-Length") or 0) > MAX_BODY:
            raise too_large()
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind and kind != "application/json":
            raise Problem(415, "unsupported-media-type", "Send `Content-Type: application/json`.")
        try:
            return orjson.loads(request.body)
        except RequestDataTooBig:
            raise too_large() from None
        except orjson.JSONDecodeError as error:
            raise Problem(400, "not-json", f"The body is not JSON: {error.msg}.") from None


def too_large() -> Problem:
    """The answer to a body that is not read."""
    return Problem(413, "too-large", f"The body has more than {MAX_BODY:,} bytes. Send fewer orders at once.")


class LocalSwagger(DocsBase):
    """The documentation page, from files that this server holds."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **kwargs: Any) -> HttpResponse:
        """The page."""
        return render(request, "api/docs.html", {"openapi_url": self.get_openapi_url(api, kwargs)})


class Api(NinjaAPI):
    """Adds the token's budget to every response, and answers every error with a problem."""

    def create_response(self, request: HttpRequest, data: Any, **options: Any) -> HttpResponse:
        """As ninja's, with the budget's headers."""
        response: HttpResponse = super().create_response(request, data, **options)
        if client := getattr(request, "api_client", None):
            response["RateLimit-Limit"] = str(client.per_minute)
            response["RateLimit-Remaining"] = str(client.remaining)
            response["RateLimit-Reset"] = str(client.reset)
        return response

    def get_openapi_schema(self, **options: Any) -> Any:
        """As ninja's; errors are documented with their media type."""
        schema = super().get_openapi_schema(**options)
        for operation in [each for path in schema["paths"].values() for each in path.values()]:
            for status, response in operation["responses"].items():
                if int(status) >= 400 and "application/json" in response.get("content", {}):
                    response["content"] = {CONTENT_TYPE: response["content"]["application/json"]}
        return schema


api = Api(
    title="OrderSaga",
    version="1",
    description="Place orders and follow them. Money is in minor units: 450 is 4.50 EUR.",
    docs=LocalSwagger(),
    parser=JsonParser(),
    urls_namespace="api-1",
)


def _respond(request: HttpRequest, problem: Problem) -> HttpResponse:
    response = api.create_response(request, problem.as_dict(), status=problem.status)
    response["Content-Type"] = CONTENT_TYPE
    for name, value in problem.headers.items():
        response[name] = value
    return response


@api.exception_handler(Problem)
def on_problem(request: HttpRequest, problem: Problem) -> HttpResponse:
    """A refusal of the API itself."""
    return _respond(request, problem)


@api.exception_handler(ValidationError)
def on_invalid(request: HttpRequest, invalid: ValidationError) -> HttpResponse:
    """A request that does not match its schema: every wrong field is named."""
    errors = [_field_error(fault) for fault in invalid.errors[:20]]
    detail = "; ".join(f"{each['field']}: {each['fault']}. {each['remedy']}" for each in errors[:3])
    return _respond(request, Problem(422, "invalid", detail, errors=errors))


def _field_error(fault: Any) -> dict[str, str]:
    # ninja's location begins with where a value is (body, query …) and the parameter's name
    place = [part for part in fault["loc"][1:] if part != "payload"] or fault["loc"][:1]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    return field_error(field, str(fault["msg"]), REMEDIES.get(fault["type"], "Correct it"))


def problem_of(error: OrderRefused | IdempotencyConflict) -> Problem:
    """The problem that an order's refusal is."""
    if isinstance(error, IdempotencyConflict):
        return Problem(409, "conflict", str(error), more={"order": error.order})
    wrong = field_error(error.field, error.fault, error.remedy)
    return Problem(422, "refused", str(error), errors=[wrong])


@api.exception_handler(OrderRefused)
def on_refused(request: HttpRequest, error: OrderRefused) -> HttpResponse:
    """An order that cannot be placed as it is."""
    return _respond(request, problem_of(error))


@api.exception_handler(IdempotencyConflict)
def on_conflict(request: HttpRequest, error: IdempotencyConflict) -> HttpResponse:
    """A key that belongs to an order of other content."""
    return _respond(request, problem_of(error))


@api.exception_handler(Http404)
def on_missing(request: HttpRequest, error: Http404) -> HttpResponse:
    """Nothing has this number."""
    return _respond(request, Problem(404, "not-found", str(error) or "It does not exist."))


@api.exception_handler(HttpError)
def on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    """An error that ninja found; it wraps what the parser raises."""
    if isinstance(error.__cause__, Problem):
        return _respond(request, error.__cause__)
    return _respond(request, Problem(error.status_code, "bad-request", str(error)))


@api.exception_handler(OperationalError)
@api.exception_handler(InternalError)
@api.exception_handler(InterfaceError)
def on_database_error(request: HttpRequest, error: Exception) -> HttpResponse:
    """The database failed: what was asked is repeated safely, with the same idempotency key."""
    sentence = "A request to the API failed, because the database does."
    logger.error(LogEvent("api_database_failed", sentence, error=first_line(error)))
    detail = "The database does not answer. Repeat the request with the same idempotency key."
    return _respond(request, Problem(503, "unavailable", detail, headers={"Retry-After": "5"}))


@api.exception_handler(Exception)
def on_error(request: HttpRequest, error: Exception) -> HttpResponse:
    """A fault of this program: logged with its traceback, answered without."""
    if settings.DEBUG:
        raise error
    logger.error(LogEvent("api_failed", "A request to the API failed."), exc_info=error)
    return _respond(request, Problem(500, "failed", "The server failed. Its log has the reason."))
