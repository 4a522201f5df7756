"""``manage.py saga``: print the timeline of one saga as a tree."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from webapp.audit.lookup import ID_KINDS, find_saga
from webapp.audit.timeline import load_timeline
from webapp.ops.cli import command
from webapp.ops.cli.console import Console
from webapp.ops.cli.db_errors import explain_orders_errors
from webapp.ops.rendering import saga_as_json, show_saga

NOT_FOUND = 1


EPILOG = """
exit status:
  0    printed
  1    the id does not exist
  2    the database cannot be read; the message names the remedy
  130  Ctrl-C

examples:
  manage.py saga 4711                     by order number
  manage.py saga 0198c5a0-6f3e-7cc1-9d4e-2f6b1d1f0a11
                                          by the id of a saga, signal or task
  manage.py saga 4711 --json | jq '.events[].name'
"""


class Command(command.Command):
    help = "Print the timeline of one saga: each event below its cause."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID|ORDER", help=ID_KINDS)
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        with explain_orders_errors():
            saga = find_saga(options["id"])
            timeline = load_timeline(saga) if saga else None
        if timeline is None:
            raise CommandError(
                f"No saga has the id {options['id'][:80]!r}. Accepted: {ID_KINDS}.", returncode=NOT_FOUND
            )
        if options["json"]:
            print(saga_as_json(timeline))  # noqa: T201 - output
        else:
            show_saga(timeline, Console(highlight=False))
