"""Checks of migrations, constraints, triggers, trigger functions, and the indexes that the engine needs.

``schema_objects.txt`` records the objects of freshly migrated databases. After a migration that changes one,
record them again from migrated databases of the settings::

    python -m webapp.ops.doctor.schema_objects > new.txt && mv new.txt webapp/ops/doctor/schema_objects.txt
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import cast, get_args

from alembic.util.exc import CommandError
from django.db.migrations.loader import MigrationLoader

from webapp.ops.doctor.database import Database
from webapp.ops.doctor.finding import Finding, error, warning
from workers.migrate import Domain, pending

RECORD = Path(__file__).with_name("schema_objects.txt")

# Names, because the texts of constraints differ between PostgreSQL versions; a digest of functions' texts.
OBJECTS = """
WITH ours AS (
    SELECT oid, relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
    AND relname !~ '^(django|auth)_|^alembic_version$'
)
SELECT 'constraint ' || relname || ' ' || conname FROM pg_constraint JOIN ours ON ours.oid = conrelid
WHERE contype IN ('c', 'f', 'p', 'u', 'x') AND convalidated
UNION SELECT 'trigger ' || relname || ' ' || tgname FROM pg_trigger JOIN ours ON ours.oid = tgrelid
WHERE NOT tgisinternal
UNION SELECT 'index ' || relname || ' ' || indexrelid::regclass FROM pg_index JOIN ours ON ours.oid = indrelid
WHERE indisvalid AND (indisunique OR relname LIKE 'ordersaga%')
UNION SELECT 'function ' || proname || ' ' || md5(prosrc) FROM pg_proc
WHERE oid IN (SELECT tgfoid FROM pg_trigger JOIN ours ON ours.oid = tgrelid WHERE NOT tgisinternal)
ORDER BY 1
"""

DISABLED_TRIGGERS = """
SELECT c.relname || ' ' || coalesce((SELECT conname FROM pg_constraint WHERE oid = tgconstraint), tgname)
FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
WHERE tgenabled NOT IN ('O', 'A') AND c.relnamespace = current_schema()::regnamespace ORDER BY 1
"""

AUTOVACUUM_OFF = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
AND 'autovacuum_enabled' = ANY(SELECT split_part(o, '=', 1) FROM unnest(reloptions) AS o
    WHERE split_part(o, '=', 2) IN ('false', 'off', 'no', '0')) ORDER BY 1
"""

# The counters of API requests may be lost; other tables may not.
UNLOGGED_TABLES = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relpersistence = 'u'
AND relnamespace = current_schema()::regnamespace AND relname <> 'api_usage'
ORDER BY 1
"""


def read_objects(database: Database) -> frozenset[str]:
    """Read the objects of a database, in the format of the record."""
    return frozenset(line for (line,) in database.rows(OBJECTS))


@cache
def load_recorded_objects(domain: str) -> frozenset[str]:
    """Load the objects that a migrated database has."""
    lines = (line.partition(" ") for line in RECORD.read_text().splitlines())
    return frozenset(guard for owner, _, guard in lines if owner == domain)


def check_schema_objects(database: Database) -> Iterator[Finding]:
    """Check for objects that are missing, changed or disabled; additional objects are ignored."""
    missing = load_recorded_objects(database.domain) - read_objects(database)
    gone = {guard.split()[1] for guard in missing if guard.startswith("trigger ")}
    for guard in sorted(missing):
        kind, table, name = guard.split()
        if kind == "index" and f"constraint {table} {name}" in missing:
            continue  # reported with its constraint
        if kind == "function":
            if not gone:  # a function is found only by its triggers
                yield error(
                    "function-changed", database.name, f"the function {table} differs from the migrations",
                    "its text differs", f"Create {table} again as in the migrations",
                )  # fmt: skip
            continue
        yield error(
            f"{kind}-missing",
            database.name,
            f"{table} has no {kind} {name}",
            "not found, or not valid",
            f"Create it as in the migrations, once 'manage.py reconcile' is clean; an index: REINDEX INDEX "
            f"{name}",
        )
    for (name,) in database.rows(DISABLED_TRIGGERS):
        table = name.split()[0]
        yield error(
            "trigger-disabled",
            database.name,
            "a trigger is disabled",
            name,
            f"ALTER TABLE {table} ENABLE TRIGGER ALL (as superuser)",
        )
    for (table,) in database.rows(UNLOGGED_TABLES):
        what = "a crash of the server empties it, although its rows were acknowledged"
        yield error("table-unlogged", database.name, what, table, f"ALTER TABLE {table} SET LOGGED")
    for (table,) in database.rows(AUTOVACUUM_OFF):
        yield warning(
            "autovacuum-disabled",
            database.name,
            f"{table} grows without limit",
            "autovacuum_enabled = false",
            f"ALTER TABLE {table} RESET (autovacuum_enabled)",
        )


def main() -> None:
    """Print the record from the databases of the settings."""
    from workers.settings import DOMAINS, settings

    for domain in DOMAINS:
        with Database(domain, settings().direct_url(domain)) as database:
            sys.stdout.writelines(f"{domain} {guard}\n" for guard in sorted(read_objects(database)))


if __name__ == "__main__":
    main()


MIGRATE = "Run: manage.py migrate"


def check_migrations(database: Database) -> Iterator[Finding]:
    """Check for missing migrations, and for migrations that this program does not know."""
    if database.domain in get_args(Domain):
        yield from _check_alembic_migrations(database)
    elif database.domain == "orders":
        yield from _check_django_migrations(database)


def _check_django_migrations(database: Database) -> Iterator[Finding]:
    loader = MigrationLoader(None)
    ours = {(app, name) for app, name in loader.disk_migrations if app in loader.migrated_apps}
    done = set()
    if database.one("SELECT to_regclass('django_migrations') IS NOT NULL"):
        done = {(app, name) for app, name in database.rows("SELECT app, name FROM django_migrations")}
    if missing := sorted(ours - done):
        yield _missing_migrations(database, [f"{app} {name}" for app, name in missing])
    if unknown := sorted(f"{app} {name}" for app, name in done - ours if app in loader.migrated_apps):
        yield _unknown_migrations(database, ", ".join(unknown))


def _check_alembic_migrations(database: Database) -> Iterator[Finding]:
    try:
        missing = pending(cast("Domain", database.domain), url=database.url)
    except CommandError as fault:  # its revision is unknown to this program
        yield _unknown_migrations(database, str(fault))
        return
    if missing:
        yield _missing_migrations(database, missing)


def _missing_migrations(database: Database, which: list[str]) -> Finding:
    shown = ", ".join(which[:3]) + (f" and {len(which) - 3} more" if len(which) > 3 else "")
    return error(
        "migrations-missing", database.name, "migrations of this program are missing", shown, MIGRATE
    )


def _unknown_migrations(database: Database, evidence: str) -> Finding:
    return warning(
        "migrations-unknown",
        database.name,
        "a newer release has migrated it",
        evidence,
        "Deploy the newer release everywhere",
    )
