"""``manage.py dead_letters``: list dead letters, and replay or discard them."""

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
    """Parse an id or a limit."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < 2**63):
        raise ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def plain(text: str) -> str:
    """Parse a text that a query can contain."""
    if not text.isprintable():
        raise ArgumentTypeError("use printable characters")
    return text


EPILOG = """
exit status:
  0    done
  1    a dead letter was not found or an action was refused; the others were done
  2    the database cannot be read; the message names the remedy
  130  Ctrl-C; no action is left half done

examples:
  manage.py dead_letters list
  manage.py dead_letters list --all --participant inventory --json
  manage.py dead_letters show 17
  manage.py dead_letters replay 17 18 --reason "the worker is repaired"
  manage.py dead_letters discard 19 --reason "from a test"
"""


class Command(command.Command):
    help = "List, show, replay and discard dead letters."
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True, metavar="list|show|replay|discard")
        listing = acts.add_parser("list", help="list open dead letters, newest first")
        listing.add_argument("--all", action="store_true", help="include settled ones")
        listing.add_argument("--participant", type=plain, help="only of this participant or queue")
        listing.add_argument("--error", type=plain, help="only with this exception or reason")
        listing.add_argument("--limit", type=positive, default=50, help="the most that are listed (50)")
        listing.add_argument("--json", action="store_true", help="one JSON object per line")
        showing = acts.add_parser("show", help="show one with traceback and body")
        showing.add_argument("ids", metavar="ID", type=positive, nargs=1)
        showing.add_argument("--json", action="store_true", help="one JSON object")
        for act, what in (
            ("replay", "deliver them again"),
            ("discard", "settle them without a replay"),
        ):
            settling = acts.add_parser(act, help=what)
            settling.add_argument("ids", metavar="ID", type=positive, nargs="+")
            settling.add_argument("--reason", required=True, help="recorded in the saga's timeline")
            settling.add_argument("--json", action="store_true", help="one JSON object per line")

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
                "There are no dead letters."
                if options["all"]
                else "There are no open dead letters. --all lists settled ones too."
            )

    def _show(self, letter: int, *, as_json: bool) -> None:
        found = DeadLetter.objects.filter(id=letter).first()
        if found is None:
            raise CommandError(
                f"There is no dead letter {letter}. List them: manage.py dead_letters list --all",
                returncode=REFUSED,
            )
        if as_json:
            self.stdout.write(json.dumps(rendering.dead_letter_record(found, complete=True), indent=2))
        else:
            rendering.show_dead_letter(found, Console(highlight=False))

    def _settle(self, act: Callable[..., str], options: dict[str, Any]) -> None:
        """Settle each independently: a refusal does not stop the others."""
        refused = False
        for letter in options["ids"]:
            try:
                done, result = True, act(letter, by=BY, reason=options["reason"])
            except ActionRefused as error:
                done, result = False, str(error)
                refused = True
            if options["json"]:
                self.stdout.write(json.dumps({"id": letter, "done": done, "told": result}))
            else:
                (self.stdout if done else self.stderr).write(result)
        if refused:
            sys.exit(REFUSED)
