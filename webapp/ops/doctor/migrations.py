"""Whether each database is as new as this program, and no newer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast, get_args

from alembic.util.exc import CommandError
from django.db.migrations.loader import MigrationLoader

from webapp.ops.doctor.database import Patient
from webapp.ops.doctor.finding import Finding, error, warning
from workers.migrate import Domain, pending

MIGRATE = "Run: manage.py migrate"


def furnished(patient: Patient) -> bool:
    """Whether the engine's tables stand at all."""
    return bool(patient.one("SELECT to_regclass('ordersaga_outbox') IS NOT NULL"))


def migrations(patient: Patient) -> Iterator[Finding]:
    """Which are missing, and which this program does not know."""
    if patient.domain in get_args(Domain):
        yield from _alembic(patient)
    elif patient.domain == "orders":
        yield from _django(patient)


def _django(patient: Patient) -> Iterator[Finding]:
    loader = MigrationLoader(None)
    ours = {(app, name) for app, name in loader.disk_migrations if app in loader.migrated_apps}
    done = set()
    if patient.one("SELECT to_regclass('django_migrations') IS NOT NULL"):
        done = {(app, name) for app, name in patient.rows("SELECT app, name FROM django_migrations")}
    if missing := sorted(ours - done):
        yield _missing(patient, [f"{app} {name}" for app, name in missing])
    if unknown := sorted(f"{app} {name}" for app, name in done - ours if app in loader.migrated_apps):
        yield _newer(patient, ", ".join(unknown))


def _alembic(patient: Patient) -> Iterator[Finding]:
    try:
        missing = pending(cast("Domain", patient.domain), url=patient.url)
    except CommandError as fault:  # the revision it stands at is not in this program
        yield _newer(patient, str(fault))
        return
    if missing:
        yield _missing(patient, missing)


def _missing(patient: Patient, which: list[str]) -> Finding:
    shown = ", ".join(which[:3]) + (f" and {len(which) - 3} more" if len(which) > 3 else "")
    return error(
        "migrations-missing", patient.name, "its tables are not those of this program", shown, MIGRATE
    )


def _newer(patient: Patient, evidence: str) -> Finding:
    return warning(
        "migrations-unknown",
        patient.name,
        "a newer program has migrated it",
        evidence,
        "Deploy the newer program everywhere",
    )
