"""``manage.py reconcile``: an auditor that trusts nobody compares the three databases."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from rich.console import Console

from webapp.ops.reconcile import Auditor, Unreadable
from webapp.ops.reconcile.report import as_json, show
from workers.settings import settings

VIOLATIONS, UNREADABLE = 1, 2
"""How the command ends when something is wrong, and when it could not look."""
GRACE = timedelta(seconds=60)


def grace(text: str) -> timedelta:
    """Seconds, 0 or more."""
    try:
        given = timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        given = timedelta(-1)
    if not timedelta(0) <= given <= timedelta(days=1):
        raise ArgumentTypeError(f"{text!r} is no number of seconds from 0 to 86400")
    return given


class Command(BaseCommand):
    help = (
        "Compare the three databases, order by order, and name what disagrees. Ends with 0 when nothing does, "
        "1 when something does, 2 when a database cannot be read."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--grace", type=grace, default=GRACE, metavar="SECONDS",
            help="how old a disagreement must be before it is called a violation (60); what is younger is read again",
        )  # fmt: skip
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        told = Console(stderr=True)

        def wait(seconds: float, suspects: int) -> None:
            told.print(f"{suspects:,} suspect(s) are younger than the grace; reading them again in {seconds:.0f} s")
            time.sleep(seconds)

        ours = settings()
        urls = {
            "orders": ours.orders_database_url,
            "inventory": ours.inventory_database_url,
            "payments": ours.payments_database_url,
        }
        auditor = Auditor(urls, options["grace"], audited="workers.audit" in ours.observers, wait=wait)
        try:
            report = auditor.audit()
        except Unreadable as error:
            told.print(str(error), style="bold red", markup=False, highlight=False)
            sys.exit(UNREADABLE)
        if options["json"]:
            print(as_json(report))  # noqa: T201 - this is what was asked for
        else:
            show(report, Console(highlight=False))
        if not report.clean:
            sys.exit(VIOLATIONS)
