"""``manage.py choreography``: validate the saga's declarations, and draw them."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any, NoReturn

from django.core.management.base import CommandError

from ordersaga.choreography import Choreography
from ordersaga.diagram import draw
from ordersaga.errors import OrderSagaError
from webapp.ops.cli import command
from webapp.ops.signal_samples import find_unreadable_samples, write_samples
from webapp.ops.undeclared import find_undeclared_steps

EPILOG = """
exit status:
  0    done; with --check: the choreography is valid
  1    the choreography is invalid, a recorded signal can no longer be read, or an undeclared step has work in
       progress; the message names the remedy
  130  Ctrl-C

examples:
  manage.py choreography                       print the saga as text
  manage.py choreography --format mermaid      draw it for a document
  manage.py choreography --check               before a deploy
  manage.py choreography --record              after a new version of a signal
"""


class Command(command.Command):
    help = "Validate the saga's declarations, and draw them."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options."""
        parser.add_argument(
            "--check",
            action="store_true",
            help="only validate, including work in progress in the databases; exit 1 on a fault",
        )
        parser.add_argument(
            "--record", action="store_true", help="record a sample of each signal's current version"
        )
        parser.add_argument(
            "--format",
            choices=("text", "mermaid", "json"),
            default="text",
            help="the format of the drawing (text)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:

        from workers.choreography import choreography

        as_json = options["json"]
        try:
            whole = choreography()
        except OrderSagaError as error:
            self._fail([str(error)], as_json=as_json)
        if options["record"]:
            written = [str(path) for path in write_samples(whole)]
            self.stdout.write(
                json.dumps({"recorded": written}) if as_json else "\n".join(f"recorded {p}" for p in written)
            )
        elif options["check"]:
            self._check(whole, as_json=as_json)
        else:
            self.stdout.write(draw(whole, "json" if as_json else options["format"]))

    def _check(self, whole: Choreography, *, as_json: bool) -> None:
        found = find_undeclared_steps(whole)
        if broken := find_unreadable_samples(whole) + found.faults:
            self._fail(broken, as_json=as_json)
        steps, signals = len(whole.steps), len({s.signature.consumes for s in whole.steps})
        if as_json:
            self.stdout.write(
                json.dumps(
                    {"holds": True, "steps": steps, "signals": signals, "faults": [], "unread": found.unread}
                )
            )
            return
        self.stdout.write(
            f"The choreography is valid: {steps} steps consume {signals} signals; every recorded signal is "
            f"readable."
        )
        for name, error in found.unread.items():
            self.stdout.write(
                f"Not compared with the work in progress of {name}: its database cannot be read: {error}."
            )

    def _fail(self, faults: list[str], *, as_json: bool) -> NoReturn:
        if as_json:
            self.stdout.write(json.dumps({"holds": False, "faults": faults}))
        raise CommandError("\n".join(faults))
