"""``manage.py reconcile``: compare the three databases independently of the engine."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from webapp.ops.cli import FAILED, INTERRUPTED, command
from webapp.ops.cli.command import number_between
from webapp.ops.cli.console import Bar, Console, show_bar
from webapp.ops.reconcile import Auditor, Report, Unreadable, audit_queue
from webapp.ops.reconcile.audit_lag import AuditQueue
from webapp.ops.reconcile.report import Watch, report_as_json, show_changes, show_report, watch_as_json
from workers.settings import settings

VIOLATIONS = 1
GRACE = timedelta(seconds=60)
EVERY = 60.0
EPILOG = """
With --watch each comparison prints one line, followed by the violations that are new or gone since the one
before. If a database cannot be read, that is reported and the comparison is repeated. Ctrl-C ends it with the
status of the last comparison.

Audit events that are still in an outbox or in the audit's queue are lag. The report shows their number and
age; they do not change the exit status.

exit status:
  0    the databases agree
  1    they disagree; the evidence is printed
  2    a database cannot be read
  130  Ctrl-C before the result was known

examples:
  manage.py reconcile
  manage.py reconcile --grace 0 --json | jq .counts
  manage.py reconcile --watch 300                  every five minutes
"""


def grace(text: str) -> timedelta:
    """Parse a number of seconds from 0 to one day."""
    try:
        given = timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        given = timedelta(-1)
    if not timedelta(0) <= given <= timedelta(days=1):
        raise ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 86400")
    return given


class Command(command.Command):
    help = "Compare the three databases, order by order, and report each disagreement."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:

        parser.add_argument(
            "--grace",
            type=grace,
            default=GRACE,
            metavar="SECONDS",
            help="the age from which a disagreement is a violation (60); younger ones are read again",
        )
        parser.add_argument(
            "--watch", type=number_between(0.1, 86_400, float), nargs="?", const=EVERY, metavar="SECONDS",
            help=f"repeat the comparison after this many seconds ({EVERY:g}), until Ctrl-C",
        )  # fmt: skip
        parser.add_argument(
            "--rabbitmq-admin", metavar="URL", default="",
            help="RabbitMQ's management interface (port 15672 of the broker's host, with the broker's user)",
        )  # fmt: skip
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object; with --watch one per line"
        )

    def handle(self, *_: Any, **options: Any) -> None:

        try:
            queue = audit_queue(settings().broker_url, options["rabbitmq_admin"])
        except ValueError as error:
            raise CommandError(f"--rabbitmq-admin: {error}", returncode=FAILED) from error
        reconciliation = _Reconciliation(options["grace"], queue, as_json=options["json"])
        try:
            if options["watch"] is None:
                reconciliation.run_once()
            else:
                reconciliation.repeat(options["watch"])
        except KeyboardInterrupt:
            if options["watch"] is None or reconciliation.status is None:
                reconciliation.console.print("Stopped.")
                reconciliation.status = INTERRUPTED
        if reconciliation.status:
            sys.exit(reconciliation.status)


class _Reconciliation:
    """:ivar status: the exit status of the last comparison; None before the first."""

    def __init__(self, grace: timedelta, queue: AuditQueue, *, as_json: bool) -> None:
        self.console = Console(stderr=True)
        self.status: int | None = None
        self._json = as_json
        self._bar = Bar(None)
        ours = settings()
        urls = {
            "orders": ours.direct_url("orders"),
            "inventory": ours.direct_url("inventory"),
            "payments": ours.direct_url("payments"),
        }
        self._auditor = Auditor(
            urls,
            grace,
            audited="workers.audit" in ours.observers,
            queue=queue,
            wait=self._wait,
            on_progress=self._show_progress,
        )

    def run_once(self) -> None:
        report = self._compare()
        if report is None:
            return
        if self._json:
            print(report_as_json(report))  # noqa: T201 - this is what was asked for
        else:
            show_report(report, Console(highlight=False))

    def repeat(self, seconds: float) -> None:
        watch = Watch()
        while True:
            report = self._compare()
            if report is not None:
                found = (timezone.now(), report, *watch.changes(report))
                if self._json:
                    print(watch_as_json(*found), flush=True)  # noqa: T201 - this is what was asked for
                else:
                    show_changes(Console(highlight=False), *found)
            time.sleep(seconds)

    def _compare(self) -> Report | None:
        """Compare once; None, after an error message, when a database cannot be read."""
        try:
            with show_bar(self.console, hidden=self._json) as self._bar:
                report = self._auditor.audit()
        except Unreadable as error:
            self.console.print(str(error), style="bold red", markup=False, highlight=False, soft_wrap=True)
            self.status = FAILED
            return None
        self.status = 0 if report.clean else VIOLATIONS
        return report

    def _show_progress(self, what: str, done: int, of: int) -> None:
        self._bar(what, done, of)

    def _wait(self, seconds: float, suspects: int) -> None:
        self.console.print(
            f"{suspects:,} suspect(s) may still be in progress; reading them again in {seconds:.0f} s"
        )
        time.sleep(seconds)
