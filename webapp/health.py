"""Whether the web process lives (``/healthz``), and whether it can serve (``/readyz``): for balancers and
supervisors.

A middleware and no views: who probes a process by its address need not know the site's names, and no session
is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed, JsonResponse

logger = logging.getLogger(__name__)

ALIVE, READY = "/healthz", "/readyz"
STATEMENT_TIMEOUT_MS = 3000
"""Milliseconds that the database has for an answer, once connected."""


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
    """503 with reasons for whoever probes; what the database said stands in the log, for it may name hosts
    and users.
    """
    reasons = []
    try:
        missing = _count_missing_migrations()
        if missing:
            reasons.append(
                f"{missing} of the orders database's migrations are not applied: manage.py migrate"
            )
    except (DatabaseError, InterfaceError) as error:
        logger.warning(
            "not ready, the orders database does not answer: %s", str(error).strip().partition("\n")[0]
        )
        connection.close()
        reasons.append("the orders database does not answer")
    return JsonResponse({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)


def _count_missing_migrations() -> int:
    """How many migrations of this process's code the database lacks. One that is newer than the code does no
    harm.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(STATEMENT_TIMEOUT_MS)])
        applied = MigrationRecorder(connection).applied_migrations()
    return len(_known_migrations() - set(applied))


@cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    """Every migration that the code brings along, those excepted that another replaces."""
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).graph.nodes)
