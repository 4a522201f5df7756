"""Flower inside the admin: its pages for staff alone, under the admin's own login and CSRF protection.

Flower itself listens on the loopback (or on a private network) and knows neither the staff nor their
sessions. Of a request only the headers in :data:`REQUEST_HEADERS` are forwarded: no cookie, no address, no host
name. Of a response only those in :data:`RESPONSE_HEADERS` are returned: none of Flower's cookies, no permission
for other sites to read.
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

from webapp.flower.links import flower_url
from webapp.flower.models import Pool

CONNECT_SECONDS, READ_SECONDS = 3.0, 20.0
"""How long Flower may take to be reached, and to say something: it asks the pools, which takes it a second or
more.
"""
CHUNK = 64 * 1024


class FlowerUnavailable(Exception):
    """Flower does not answer, or not as it should; the message says what is seen."""


class FlowerResponse:
    """What Flower said: iterate over it once for the body, and close it in any case."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection, self._response = connection, response
        self._first: bytes | None = None

    @property
    def status(self) -> int:
        return self._response.status

    def header(self, name: str) -> str | None:
        return self._response.getheader(name)

    def beginning(self) -> bytes:
        """The first piece of the body, still to be given by the iteration."""
        if self._first is None:
            self._first = self._read()
        return self._first

    def replace_beginning(self, text: bytes) -> int:
        """Give ``text`` instead of the first piece; by how many bytes the body has grown."""
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
            raise FlowerUnavailable(f"broke off: {_describe(error)}") from error


def send_request(
    base: str, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> FlowerResponse:
    """Send a request to the Flower at ``base``, with the name and password of that URL.

    :param target: the path and query, encoded.
    :raises FlowerAway: when it cannot be reached or says no HTTP.
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
"""What Flower's own pages ask for by POST though nothing is changed."""
TOKEN_COOKIE, TOKEN_HEADER = "_xsrf", "X-XSRFToken"
"""How the scripts of Flower's pages carry a token: they are given Django's."""
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Flower's pages run under the admin's address, so they must not talk to anybody else; one has a script
inside.
"""


@csrf_exempt  # the token comes in Flower's header; _guarded checks it
def proxy_flower(request: HttpRequest, page: str = "") -> HttpResponseBase:
    """Any page, file or answer of Flower's. ``page`` may be read from the request's path as well."""
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path(), reverse("admin:login"))
    if not admin.site.has_permission(request):
        raise PermissionDenied
    _ = request.body  # read before the token is looked for in a form, which would leave nothing to pass on
    token = request.headers.get(TOKEN_HEADER)
    if token and "HTTP_X_CSRFTOKEN" not in request.META:
        request.META["HTTP_X_CSRFTOKEN"] = token
    return _guarded(request, page)


@csrf_protect
def _guarded(request: HttpRequest, page: str) -> HttpResponseBase:
    if request.method not in {"GET", "HEAD", "POST"}:
        return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
    acts = request.method == "POST" and page not in READ_ONLY_POSTS
    if acts and not request.user.has_perm("pools.control_pool"):
        raise PermissionDenied
    headers = {name: value for name in REQUEST_HEADERS if (value := request.headers.get(name))}
    try:
        answer = send_request(
            settings.FLOWER_URL, request.method, request.get_full_path(), headers, request.body
        )
        _require_flower(answer, page)
        if acts:
            _log_action(request, page, answer.status)
        return _build_response(request, answer, page)
    except FlowerUnavailable as away:
        logger.warning("Flower cannot be shown: %s", away)
        return _unavailable_page(request, str(away))


def _require_flower(answer: FlowerResponse, page: str) -> None:
    """:raises FlowerAway: when it is no Flower, or not started as it should be."""
    location = answer.header("Location")
    fault = None
    if answer.status == 401:
        fault = "it asks for a name and password, or keeps its API closed"
    elif answer.status == 404 and page == "":
        fault = "something answers there, and it is no Flower under this path"
    elif location is not None and not location.startswith(flower_url()):
        fault = "it sends to another place"
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
    """Who did what to the pools, where the admin keeps such things."""
    LogEntry.objects.create(
        user_id=int(request.user.pk or 0),
        content_type=ContentType.objects.get_for_model(Pool),
        object_repr=page[:200],
        action_flag=CHANGE,
        change_message=f"Through Flower, which answered {status}.",
    )


def _unavailable_page(request: HttpRequest, seen: str) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "Flower does not answer",
        "seen": seen,
        "prefix": flower_url().strip("/"),
        "app": settings.FLOWER_APP,
    }
    return render(request, "flower/away.html", context, status=502)


CONTENT_START = b'<main class="app-content" id="main-content">'
"""Where Flower's pages begin; on a page without it no line is added."""


def add_links(html: bytes, page: str) -> bytes:
    """``html`` with the line; on the page of a task it leads to the sagas that the task worked on."""
    links = format_html('<a href="{}">OrderSaga admin</a>', reverse("admin:index"))
    kind, _, task = page.partition("/")
    if kind == "task" and task:
        links += format_html(
            ' · <a href="{}">the sagas of this task</a>', reverse("go", kwargs={"term": task})
        )
    return html.replace(
        CONTENT_START, CONTENT_START + f'<p class="container-fluid pt-2 mb-0 small">{links}</p>'.encode(), 1
    )
