"""``manage.py migrate``: migrate all three databases, with Django's migrations and with Alembic."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic.util.exc import CommandError as AlembicError
from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.migrations.executor import MigrationExecutor

from webapp.db import to_django_config
from webapp.ops.cli import FAILED, command
from webapp.ops.cli.db_errors import explain_errors, explain_orders_errors
from workers.migrate import DOMAINS, Domain, pending
from workers.migrate import migrate as migrate_domain
from workers.settings import settings

MISSING = 1
EPILOG = """
exit status:
  0    the databases are up to date
  1    with --check: a migration is missing; or Django refused
  2    a database does not answer, or is newer than this program
  130  Ctrl-C; finished migrations are kept, run it again for the rest

examples:
  manage.py migrate                  migrate all three databases
  manage.py migrate --check          check for missing migrations
  manage.py migrate --plan           list the missing migrations
"""


class Command(migrate.Command, command.Command):
    help = "Migrate all three databases. With an app label or --database, only Django's migrations are run."
    epilog = EPILOG

    def add_arguments(self, parser: CommandParser) -> None:

        super().add_arguments(parser)
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object: the missing migrations by database"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        logging.getLogger("alembic").setLevel(logging.WARNING)  # this command prints what it applies
        if settings().orders_direct_url:  # behind a pooler each transaction may get another session
            connection.close()
            connection.settings_dict.update(to_django_config(settings().orders_direct_url))
        as_json = options["json"]
        if (
            options["app_label"]
            or options["database"] != DEFAULT_DB_ALIAS
            or options["prune"]
            or options["fake"]
        ):
            if as_json:
                raise CommandError(
                    "--json covers all three databases: omit the options that select a part",
                    returncode=FAILED,
                )
            self._django(*args, **options)
            return
        missing = _missing()
        if options["check_unapplied"] or (options["plan"] and as_json):
            self._show(missing, as_json=as_json, fail=options["check_unapplied"])
            return
        self._django(*args, **{**options, "verbosity": 0 if as_json else options["verbosity"]})
        if options["plan"]:
            self._show({domain: missing[domain] for domain in DOMAINS})
            return
        for domain in DOMAINS:
            self._bring(domain, missing[domain], quiet=as_json or not options["verbosity"])
        if as_json:
            self.stdout.write(json.dumps({"up_to_date": True, "missing": missing}))

    def _django(self, *args: Any, **options: Any) -> None:
        with explain_orders_errors():
            super().handle(*args, **options)

    def _bring(self, domain: Domain, missing: list[str], *, quiet: bool) -> None:
        if not quiet:
            self.stdout.write(self.style.MIGRATE_HEADING(f"Migrating {domain}"))
        with _explain_migration_errors(domain):
            migrate_domain(domain)
        if not quiet:
            self.stdout.write(
                "\n".join(f"  Applied {each}" for each in missing) or "  No migrations to apply."
            )

    def _show(self, missing: dict[str, list[str]], *, as_json: bool = False, fail: bool = False) -> None:
        lines = [f"{domain}: {each}" for domain, found in missing.items() for each in found]
        if as_json:
            self.stdout.write(json.dumps({"up_to_date": not lines, "missing": missing}))
        else:
            *others, last = missing
            self.stdout.write("\n".join(lines) or f"{', '.join(others)} and {last} are up to date")
        if lines and fail:
            raise CommandError("Migrations are missing. Run: manage.py migrate", returncode=MISSING)


def _missing() -> dict[str, list[str]]:
    """Return the missing migrations by database."""
    with explain_orders_errors():
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    found = {"orders": [f"{migration.app_label} {migration.name}" for migration, _ in plan]}
    for domain in DOMAINS:
        with _explain_migration_errors(domain):
            found[domain] = pending(domain)
    return found


@contextmanager
def _explain_migration_errors(domain: Domain) -> Iterator[None]:
    """Extend :func:`explain_errors` to a database that a newer program has migrated."""
    try:
        with explain_errors(domain):
            yield
    except AlembicError as error:
        message = f"The {domain} database is newer than this program: {error}. Use the newer program."
        raise CommandError(message, returncode=FAILED) from error
