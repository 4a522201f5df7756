"""Health checks of the web process: ``/healthz`` reports that it runs, ``/readyz`` that it can serve.

This is a middleware, so that probes need no allowed host name and no session.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, JsonResponse

from ordersaga.database import first_line
from ordersaga.log import LogEvent

logger = logging.getLogger(__name__)

ALIVE, READY = "/healthz", "/readyz"
STATEMENT_TIMEOUT_MS = 3000
"""The time that a connected database has for an answer."""


class HealthMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path not in (ALIVE, READY):
            return self._next(request)
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        response = _report_alive() if request.path == ALIVE else _report_ready()
        response["Cache-Control"] = "no-store"
        return response


def _report_alive() -> HttpResponse:
    return JsonResponse({"alive": True})


def _report_ready() -> HttpResponse:
    """Answer 503 with reasons when not ready; the database's message is only logged, as it may name users."""
    reasons = []
    try:
        missing = _count_missing_migrations()
        if missing:
            reasons.append(
                f"{missing} of the orders database's migrations are not applied: manage.py migrate"
            )
    except (DatabaseError, InterfaceError) as error:
        logger.warning(
            LogEvent("orders_database_away", "The orders database does not answer.", error=first_line(error))
        )
        connection.close()
        reasons.append("the orders database does not answer")
    return JsonResponse({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)


def _count_missing_migrations() -> int:
    """Return how many migrations of this code the database lacks; newer ones in the database do no harm."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(STATEMENT_TIMEOUT_MS)])
        applied = MigrationRecorder(connection).applied_migrations()
    return len(_known_migrations() - set(applied))


@cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    """Return the migrations of this code, without those that another one replaces."""
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).graph.nodes)
