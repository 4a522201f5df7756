"""``manage.py migrate``: all three databases, Django's by Django and the participants' by Alembic."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS

from webapp.ops import command
from webapp.ops.remedies import told_of, told_plainly
from workers.migrate import DOMAINS, pending
from workers.migrate import migrate as migrate_domain

EPILOG = """
exit status:
  0    the databases are up to date
  1    with --check: some migration is missing; or Django refused
  2    a database does not answer; the message says what to do

examples:
  manage.py migrate                  all three databases
  manage.py migrate --check          is anything missing? for a deploy
  manage.py migrate --plan           what would be done
"""


class Command(migrate.Command, command.Command):
    help = "Bring all three databases up to date; with an app's name, or another --database, only what Django keeps."
    epilog = EPILOG

    def handle(self, *args: Any, **options: Any) -> None:
        with told_plainly():
            super().handle(*args, **options)
        ours = not options["app_label"] and options["database"] == DEFAULT_DB_ALIAS
        if not ours or options["prune"] or options["fake"]:
            return
        if options["plan"] or options["check_unapplied"]:
            self._show_pending(fail=options["check_unapplied"])
            return
        for domain in DOMAINS:
            if options["verbosity"]:
                self.stdout.write(self.style.MIGRATE_HEADING(f"Bringing {domain} up to date"))
            with told_of(domain):
                migrate_domain(domain)

    def _show_pending(self, *, fail: bool) -> None:
        waiting = []
        for domain in DOMAINS:
            with told_of(domain):
                waiting += [f"{domain}: {revision}" for revision in pending(domain)]
        self.stdout.write("\n".join(waiting) or f"{' and '.join(DOMAINS)} are up to date")
        if waiting and fail:
            sys.exit(1)
