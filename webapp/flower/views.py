"""Flower inside the admin: whatever it shows, for staff alone, under the admin's own login and CSRF protection.

Flower itself listens on the loopback (or on a network of its own) and knows neither the staff nor their sessions. Nothing
of a request passes but what :data:`PASSED_ON` names: no cookie, no address, no host name. Nothing of an answer passes but
:data:`PASSED_BACK`: no cookie of Flower's, no permission for other sites to read.
"""

from __future__ import annotations

import logging

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.views import redirect_to_login
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.views.decorators.csrf import csrf_exempt, csrf_protect

from webapp.flower.bar import with_bar
from webapp.flower.links import flower_url
from webapp.flower.models import Pool
from webapp.flower.upstream import Answer, FlowerAway, ask

logger = logging.getLogger(__name__)

PASSED_ON = ("Accept", "Accept-Language", "Content-Type", "If-Modified-Since", "If-None-Match", "Range", "X-Requested-With")
PASSED_BACK = (
    "Accept-Ranges", "Cache-Control", "Content-Disposition", "Content-Length", "Content-Range", "Content-Type", "ETag",
    "Expires", "Last-Modified", "Location",
)  # fmt: skip
READING = frozenset({"tasks/datatable"})
"""What Flower's own pages ask for by POST though nothing is changed."""
TOKEN_COOKIE, TOKEN_HEADER = "_xsrf", "X-XSRFToken"
"""How the scripts of Flower's pages carry a token: they are given Django's."""
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Flower's pages run under the admin's address, so they must not talk to anybody else; one has a script inside."""


@csrf_exempt  # the token comes in Flower's header; _guarded checks it
def flower(request: HttpRequest, page: str = "") -> HttpResponseBase:
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
    acts = request.method == "POST" and page not in READING
    if acts and not request.user.has_perm("pools.control_pool"):
        raise PermissionDenied
    headers = {name: value for name in PASSED_ON if (value := request.headers.get(name))}
    try:
        answer = ask(settings.FLOWER_URL, request.method, request.get_full_path(), headers, request.body)
        _look_at(answer, page)
        if acts:
            _note(request, page, answer.status)
        return _passed_back(request, answer, page)
    except FlowerAway as away:
        logger.warning("Flower cannot be shown: %s", away)
        return _away(request, str(away))


def _look_at(answer: Answer, page: str) -> None:
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
        raise FlowerAway(fault)


def _passed_back(request: HttpRequest, answer: Answer, page: str) -> HttpResponseBase:
    headers = {name: value for name in PASSED_BACK if (value := answer.header(name)) is not None}
    html = headers.get("Content-Type", "").startswith("text/html")
    if html and request.method == "GET":
        grown = answer.replace_beginning(with_bar(answer.beginning(), page))
        if "Content-Length" in headers:
            headers["Content-Length"] = str(int(headers["Content-Length"]) + grown)
        headers.pop("ETag", None)
    response = StreamingHttpResponse(answer, status=answer.status, headers=headers)
    patch_cache_control(response, private=True)
    response["Content-Security-Policy"] = POLICY
    if html:
        cookie = {"path": flower_url(), "secure": request.is_secure(), "samesite": "Lax"}
        response.set_cookie(TOKEN_COOKIE, get_token(request), **cookie)  # type: ignore[arg-type]
    return response


def _note(request: HttpRequest, page: str, status: int) -> None:
    """Who did what to the pools, where the admin keeps such things."""
    LogEntry.objects.create(
        user_id=int(request.user.pk or 0),
        content_type=ContentType.objects.get_for_model(Pool),
        object_repr=page[:200],
        action_flag=CHANGE,
        change_message=f"Through Flower, which answered {status}.",
    )


def _away(request: HttpRequest, seen: str) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "Flower does not answer",
        "seen": seen,
        "prefix": flower_url().strip("/"),
        "app": settings.FLOWER_APP,
    }
    return render(request, "flower/away.html", context, status=502)
