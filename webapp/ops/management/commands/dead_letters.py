"""``manage.py dead_letters``: what was given up, looked at and settled."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError

from webapp.audit.models import DeadLetter
from webapp.audit.services import discard, replay
from webapp.operators import ActionRefused
from webapp.ops import rendering
from webapp.ops.cli import command
from webapp.ops.cli.console import Console
from webapp.ops.cli.db_errors import explain_orders_errors

REFUSED = 1
BY = "command line"


def positive(text: str) -> int:
    """A number that an id or a limit can be."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < 2**63):
        raise ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def plain(text: str) -> str:
    """A text that a database can be asked for."""
    if not text.isprintable():
        raise ArgumentTypeError("use printable characters")
    return text


EPILOG = """
exit status:
  0    done
  1    a letter was not found, or an act was refused; the others were done
  2    the database cannot be read; the message says what to do
  130  Ctrl-C: each act is done or not begun

examples:
  manage.py dead_letters list
  manage.py dead_letters list --all --participant inventory --json
  manage.py dead_letters show 17
  manage.py dead_letters replay 17 18 --reason "the worker is mended"
  manage.py dead_letters discard 19 --reason "a test's"
"""


class Command(command.Command):
    help = "List, show, replay and discard dead letters."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="list|show|replay|discard")
        listing = acts.add_parser("list", help="the open ones, newest first")
        listing.add_argument("--all", action="store_true", help="the settled ones too")
        listing.add_argument("--participant", type=plain, help="of this participant or queue")
        listing.add_argument("--error", type=plain, help="of this exception or reason")
        listing.add_argument("--limit", type=positive, default=50, help="at most so many (50)")
        listing.add_argument("--json", action="store_true", help="one JSON object a line")
        showing = acts.add_parser("show", help="one of them, with traceback and body")
        showing.add_argument("ids", metavar="ID", type=positive, nargs=1)
        showing.add_argument("--json", action="store_true", help="one JSON object")
        for act, what in (
            ("replay", "have them heard once more"),
            ("discard", "settle them without replaying"),
        ):
            settling = acts.add_parser(act, help=what)
            settling.add_argument("ids", metavar="ID", type=positive, nargs="+")
            settling.add_argument("--reason", required=True, help="why; stands in the saga's story")
            settling.add_argument("--json", action="store_true", help="one JSON object a letter and line")

    def handle(self, *_: Any, **options: Any) -> None:
        with explain_orders_errors():
            match options["act"]:
                case "list":
                    self._list(options)
                case "show":
                    self._show(options["ids"][0], as_json=options["json"])
                case "replay":
                    self._settle(replay, options)
                case "discard":
                    self._settle(discard, options)

    def _list(self, options: dict[str, Any]) -> None:
        wanted = {name: options[name] for name in ("participant", "error") if options[name] is not None}
        if not options["all"]:
            wanted["outcome"] = None
        found = (
            DeadLetter.objects.filter(**wanted).order_by("-id").defer("body", "traceback")[: options["limit"]]
        )
        if options["json"]:
            for letter in found:
                self.stdout.write(json.dumps(rendering.dead_letter_record(letter, complete=False)))
        elif not rendering.list_dead_letters(found, Console(highlight=False)):
            self.stdout.write(
                "No dead letters."
                if options["all"]
                else "No open dead letters. --all lists the settled ones."
            )

    def _show(self, letter: int, *, as_json: bool) -> None:
        found = DeadLetter.objects.filter(id=letter).first()
        if found is None:
            raise CommandError(
                f"There is no dead letter {letter}. manage.py dead_letters list --all", returncode=REFUSED
            )
        if as_json:
            self.stdout.write(json.dumps(rendering.dead_letter_record(found, complete=True), indent=2))
        else:
            rendering.show_dead_letter(found, Console(highlight=False))

    def _settle(self, act: Callable[..., str], options: dict[str, Any]) -> None:
        """Each by itself: one that is refused does not keep the others."""
        refused = False
        for letter in options["ids"]:
            try:
                done, told = True, act(letter, by=BY, reason=options["reason"])
            except ActionRefused as error:
                done, told = False, str(error)
                refused = True
            if options["json"]:
                self.stdout.write(json.dumps({"id": letter, "done": done, "told": told}))
            else:
                (self.stdout if done else self.stderr).write(told)
        if refused:
            sys.exit(REFUSED)
