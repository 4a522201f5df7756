"""``manage.py choreography``: check the saga's declarations, and draw them."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from ordersaga.drawing import draw
from ordersaga.errors import OrderSagaError
from webapp.ops import command
from webapp.ops.recorded import broken_contracts, record

EPILOG = """
exit status:
  0    done; with --check: it can work
  1    it cannot work, or recorded signals can no longer be read; the message says what to do

examples:
  manage.py choreography                       the saga as text
  manage.py choreography --format mermaid      for a document
  manage.py choreography --check               exit 1 when it cannot work, or when recorded signals can no longer be read
  manage.py choreography --record              add the signals' present versions to the record (after a new version)
"""


class Command(command.Command):
    """Draw and check the choreography of the settings."""

    help = "Check the saga's declarations before the first message, and draw them."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options."""
        parser.add_argument("--check", action="store_true", help="only check; exit 1 at the first fault")
        parser.add_argument("--record", action="store_true", help="record one signal of each kind as it is written today")
        parser.add_argument("--format", choices=("text", "mermaid", "json"), default="text")

    def handle(self, *_: Any, **options: Any) -> None:
        """Load (which checks), then do what was asked."""
        from workers.choreography import choreography

        try:
            whole = choreography()
        except OrderSagaError as error:
            raise CommandError(str(error)) from error
        if options["record"]:
            for path in record(whole):
                self.stdout.write(f"recorded {path}")
        elif options["check"]:
            broken = broken_contracts(whole)
            if broken:
                raise CommandError("\n".join(broken))
            steps, signals = len(whole.steps), len({s.arrow.hears for s in whole.steps})
            self.stdout.write(
                f"The choreography holds: {steps} steps, {signals} signals heard, every recorded signal is readable."
            )
        else:
            self.stdout.write(draw(whole, options["format"]))
