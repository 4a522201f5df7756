"""A reverse proxy for Flower inside the admin, for staff only, with the admin's login and CSRF protection.

Flower listens on the loopback or a private network. Only the request headers in :data:`REQUEST_HEADERS` are
forwarded: no cookies, client addresses or host names. Only the response headers in :data:`RESPONSE_HEADERS`
are returned: no cookies and no CORS headers of Flower.
"""

from __future__ import annotations

import base64
import http.client
import logging
from collections.abc import Iterator, Mapping
from typing import Self
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.views import redirect_to_login
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    StreamingHttpResponse,
)
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.utils.html import format_html
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from ordersaga.log import LogEvent
from webapp.flower.links import flower_url
from webapp.flower.models import Pool

CONNECT_SECONDS, READ_SECONDS = 3.0, 20.0
"""Timeouts; Flower answers some pages after asking the pools, which takes a second or more."""
CHUNK = 64 * 1024


class FlowerUnavailable(Exception):
    """Flower does not answer, or answers unexpectedly; the message describes it."""


class FlowerResponse:
    """A response of Flower: iterate over it once for the body, and close it in any case."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection, self._response = connection, response
        self._first: bytes | None = None

    @property
    def status(self) -> int:
        return self._response.status

    def header(self, name: str) -> str | None:
        return self._response.getheader(name)

    def beginning(self) -> bytes:
        """Read the first piece of the body; the iteration still yields it."""
        if self._first is None:
            self._first = self._read()
        return self._first

    def replace_beginning(self, text: bytes) -> int:
        """Replace the first piece of the body; return by how many bytes the body grows."""
        grown = len(text) - len(self.beginning())
        self._first = text
        return grown

    def __iter__(self) -> Iterator[bytes]:
        try:
            piece = self.beginning()
            while piece:
                yield piece
                piece = self._read()
        finally:
            self.close()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> bytes:
        try:
            return self._response.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise FlowerUnavailable(f"the response ended early: {_describe(error)}") from error


def send_request(
    base: str, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> FlowerResponse:
    """Send a request to Flower at ``base``, with the name and password of that URL.

    :param target: the encoded path and query.
    :raises FlowerUnavailable: when it cannot be reached or does not speak HTTP.
    """
    parts = urlsplit(base)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=CONNECT_SECONDS)
    sent = dict(headers)
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        sent["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    try:
        connection.connect()
        connection.sock.settimeout(READ_SECONDS)
        connection.request(method, target, body or None, sent)
        return FlowerResponse(connection, connection.getresponse())
    except (OSError, http.client.HTTPException, ValueError) as error:
        connection.close()
        raise FlowerUnavailable(_describe(error)) from error


def _describe(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


logger = logging.getLogger(__name__)

REQUEST_HEADERS = (
    "Accept",
    "Accept-Language",
    "Content-Type",
    "If-Modified-Since",
    "If-None-Match",
    "Range",
    "X-Requested-With",
)
RESPONSE_HEADERS = (
    "Accept-Ranges",
    "Cache-Control",
    "Content-Disposition",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "ETag",
    "Expires",
    "Last-Modified",
    "Location",
)
READ_ONLY_POSTS = frozenset({"tasks/datatable"})
"""POST requests of Flower's pages that change nothing."""
TOKEN_COOKIE, TOKEN_HEADER = "_xsrf", "X-XSRFToken"
"""The CSRF cookie and header of Flower's scripts, which carry Django's token."""
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Flower's pages share the admin's origin, so they may not contact other hosts; one has an inline script."""


@csrf_exempt  # the token comes in Flower's header; _guarded checks it
def proxy_flower(request: HttpRequest, page: str = "") -> HttpResponseBase:
    """Answer a request for a page, a file or the API of Flower."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path(), reverse("admin:login"))
    if not admin.site.has_permission(request):
        raise PermissionDenied
    _ = request.body  # read now: the CSRF check may parse the form, which would leave no body to forward
    token = request.headers.get(TOKEN_HEADER)
    if token and "HTTP_X_CSRFTOKEN" not in request.META:
        request.META["HTTP_X_CSRFTOKEN"] = token
    return _guarded(request, page)


@csrf_protect
def _guarded(request: HttpRequest, page: str) -> HttpResponseBase:
    if request.method not in {"GET", "HEAD", "POST"}:
        return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
    changes = request.method == "POST" and page not in READ_ONLY_POSTS
    if changes and not request.user.has_perm("pools.control_pool"):
        raise PermissionDenied
    headers = {name: value for name in REQUEST_HEADERS if (value := request.headers.get(name))}
    try:
        answer = send_request(
            settings.FLOWER_URL, request.method, request.get_full_path(), headers, request.body
        )
        _require_flower(answer, page)
        if changes:
            _log_action(request, page, answer.status)
        return _build_response(request, answer, page)
    except FlowerUnavailable as fault:
        logger.warning(LogEvent("flower_unavailable", "Flower cannot be shown.", fault=str(fault)))
        return _unavailable_page(request, str(fault))


def _require_flower(answer: FlowerResponse, page: str) -> None:
    """:raises FlowerUnavailable: when another program answers, or Flower is misconfigured."""
    location = answer.header("Location")
    fault = None
    if answer.status == 401:
        fault = "it requires a name and password, or its API is disabled"
    elif answer.status == 404 and page == "":
        fault = "another program answers at its address, or Flower uses another URL prefix"
    elif location is not None and not location.startswith(flower_url()):
        fault = "it redirects to another address"
    if fault is not None:
        answer.close()
        raise FlowerUnavailable(fault)


def _build_response(request: HttpRequest, answer: FlowerResponse, page: str) -> HttpResponseBase:
    headers = {name: value for name in RESPONSE_HEADERS if (value := answer.header(name)) is not None}
    html = headers.get("Content-Type", "").startswith("text/html")
    if html and request.method == "GET":
        grown = answer.replace_beginning(add_links(answer.beginning(), page))
        if "Content-Length" in headers:
            headers["Content-Length"] = str(int(headers["Content-Length"]) + grown)
        headers.pop("ETag", None)
    response = StreamingHttpResponse(answer, status=answer.status, headers=headers)
    patch_cache_control(response, private=True)
    response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    if html:
        cookie = {"path": flower_url(), "secure": request.is_secure(), "samesite": "Lax"}
        response.set_cookie(TOKEN_COOKIE, get_token(request), **cookie)  # type: ignore[arg-type]
    return response


def _log_action(request: HttpRequest, page: str, status: int) -> None:
    """Record the request in the admin's log."""
    LogEntry.objects.create(
        user_id=int(request.user.pk or 0),
        content_type=ContentType.objects.get_for_model(Pool),
        object_repr=page[:200],
        action_flag=CHANGE,
        change_message=f"Through Flower, which answered {status}.",
    )


def _unavailable_page(request: HttpRequest, fault: str) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "Flower is not available",
        "fault": fault,
        "prefix": flower_url().strip("/"),
        "app": settings.FLOWER_APP,
    }
    return render(request, "flower/unavailable.html", context, status=502)


CONTENT_START = b'<main class="app-content" id="main-content">'
"""The start of the content of Flower's pages; links are added only to pages that contain it."""


def add_links(html: bytes, page: str) -> bytes:
    """Add a line with a link to the admin and, on the page of a task, a link to the task's sagas."""
    links = format_html('<a href="{}">OrderSaga admin</a>', reverse("admin:index"))
    kind, _, task = page.partition("/")
    if kind == "task" and task:
        links += format_html(
            ' · <a href="{}">the sagas of this task</a>', reverse("go", kwargs={"term": task})
        )
    return html.replace(
        CONTENT_START, CONTENT_START + f'<p class="container-fluid pt-2 mb-0 small">{links}</p>'.encode(), 1
    )
