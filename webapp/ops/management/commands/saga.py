"""``manage.py saga``: the story of one saga, as a tree with times."""

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
  0    told
  1    nothing has this id
  2    the database cannot be read; the message says what to do
  130  Ctrl-C

examples:
  manage.py saga 4711                     by the order's number
  manage.py saga 0198c5a0-6f3e-7cc1-9d4e-2f6b1d1f0a11
                                          by an id: of it, a signal, a task
  manage.py saga 4711 --json | jq '.events[].name'
"""


class Command(command.Command):
    help = "Tell the story of one saga: what was said, each line under what led to it."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", metavar="ID|ORDER", help=ID_KINDS)
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        with explain_orders_errors():
            saga = find_saga(options["id"])
            story = load_timeline(saga) if saga else None
        if story is None:
            raise CommandError(
                f"Nothing has this id: {options['id'][:80]!r}. Tried: {ID_KINDS}.", returncode=NOT_FOUND
            )
        if options["json"]:
            print(saga_as_json(story))  # noqa: T201 - this is what was asked for
        else:
            show_saga(story, Console(highlight=False))
