"""``manage.py paused_steps``: list and resume steps that are paused because they failed for every saga."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

import psycopg2
from django.core.management.base import CommandError
from django.db import connection, transaction

from ordersaga.database import first_line
from webapp.operators import ActionRefused, required_reason
from webapp.ops.cli import FAILED, command
from webapp.ops.cli.db_errors import explain_orders_errors
from webapp.ops.doctor.backlog import find_paused_steps
from webapp.ops.doctor.database import Database
from workers.choreography import choreography
from workers.order_saga import order_operations
from workers.settings import DOMAINS, PREFIX, settings

REFUSED = 1
BY = "command line"

EPILOG = """
exit status:
  0    done
  1    the step does not exist, or no reason is given; nothing was done
  2    a database cannot be read; the message names the remedy
  130  Ctrl-C; no action is left half done

A step is paused when it fails for five sagas and succeeds for none. Its orders then wait instead of being
rolled back. One saga tests it after 1, 2, 4 ... 30 seconds; when that succeeds, the others follow. Resuming
by hand only shortens the wait.

examples:
  manage.py paused_steps list
  manage.py paused_steps list --json
  manage.py paused_steps resume payments.charge --reason "the gateway is back"
"""


class Command(command.Command):
    help = "List the steps that are paused because they failed for every saga, and resume them."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="list|resume")
        listing = acts.add_parser("list", help="list paused steps, with time and error")
        listing.add_argument("--json", action="store_true", help="one JSON object per line")
        resuming = acts.add_parser("resume", help="retry its signals now")
        resuming.add_argument("step", metavar="STEP", help="such as payments.charge")
        resuming.add_argument("--reason", required=True, help="recorded in the participant's log")
        resuming.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        with explain_orders_errors():
            if options["act"] == "list":
                self._list(as_json=options["json"])
            else:
                self._resume(options["step"], options["reason"], as_json=options["json"])

    def _list(self, *, as_json: bool) -> None:
        found = list(_paused())
        for each in found:
            self.stdout.write(json.dumps(each) if as_json else _line(each))
        if not found and not as_json:
            self.stdout.write("No step is paused.")

    def _resume(self, step: str, reason: str, *, as_json: bool) -> None:
        steps = {each.key: each.participant for each in choreography().steps}
        if step not in steps:
            raise CommandError(
                f"There is no step {step[:80]!r}. Steps: {', '.join(sorted(steps))}", returncode=REFUSED
            )
        try:
            why = required_reason(reason)
        except ActionRefused as error:
            raise CommandError(str(error), returncode=REFUSED) from error
        with transaction.atomic():
            order_operations.resume_step(step, participant=steps[step], db=connection, by=BY, reason=why)
        sentence = f"{steps[step]} will resume {step}. If the step still fails, it is paused again."
        self.stdout.write(json.dumps({"step": step, "done": True, "told": sentence}) if as_json else sentence)


def _paused() -> Iterator[dict[str, Any]]:
    for domain in DOMAINS:
        try:
            with Database(domain, getattr(settings(), f"{domain}_database_url")) as database:
                found = list(find_paused_steps(database, choreography()))
        except psycopg2.Error as error:
            variable = f"{PREFIX}{domain.upper()}_DATABASE_URL"
            fault = f"The {domain} database cannot be read: {first_line(error)}. Its address is {variable}."
            raise CommandError(fault, returncode=FAILED) from error
        for step in found:
            yield {
                "step": step.key,
                "participant": step.participant,
                "error": step.error,
                "process": step.process,
                "paused_at": step.paused_at.isoformat(),
                "probes": step.probes,
                "probe_at": step.probe_at.isoformat(),
                "signals": step.signals,
            }


def _line(each: dict[str, Any]) -> str:
    return (
        f"{each['step']}: paused since {each['paused_at'][:19]} by process {each['process']},"
        f" {each['signals']:,} signal(s) wait, {each['probes']} probe(s) failed: {each['error']}"
    )
