"""``manage.py prune``: delete the journals and audit events of orders that ended before the retention."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

import psycopg2
from django.core.management.base import CommandError
from pydantic import TypeAdapter, ValidationError
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ordersaga.classification import UNDEFINED_TABLE
from ordersaga.database import first_line
from ordersaga.errors import OrderSagaError
from webapp.ops.cli import FAILED, INTERRUPTED, command
from webapp.ops.cli.console import Console
from webapp.ops.prune import Databases, Pruned, prune
from workers.retention import minimum_retention
from workers.settings import Duration, Settings, settings

LONGEST = timedelta(days=36_500)
EPILOG = """
Deleted are journals, packs, answers, audit events and settled dead letters of orders that ended longer ago
than the retention, and their idempotency keys. Kept are orders and lines, sagas with their status,
reservations, movements and the ledger; also everything of an order that is open, or whose dead letter is open
or was settled since. The retention must be longer than the time for which a message may be redelivered.

exit status:
  0    done
  2    pruning failed, or the retention is too short
  130  Ctrl-C; finished batches stay deleted

examples:
  manage.py prune --dry-run           count what would be deleted
  manage.py prune                     each night, from cron or a systemd timer
  manage.py prune --retention P30D --batch 200
                                      keep 30 days; smaller batches for a busy system
"""


def duration(text: str) -> timedelta:
    """Parse seconds, ``[days ]HH:MM:SS`` or ISO 8601, as in the settings."""
    try:
        given: timedelta = TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        raise ArgumentTypeError(f"{text[:40]!r} is not a duration; write P90D, or seconds") from error
    if given > LONGEST:
        raise ArgumentTypeError(f"{text[:40]!r} is longer than {LONGEST.days:,} days")
    return given


def size(text: str) -> int:
    """Parse a whole number from 1 to 10,000."""
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= 10_000:
        raise ArgumentTypeError(f"{text!r} is not a number from 1 to 10000")
    return int(text)


class Command(command.Command):
    help = (
        "Delete journals, packs, audit events and idempotency keys of orders that ended before the "
        "retention. It can "
        "run beside the pools and beside another prune, and be interrupted: each batch is one transaction."
    )
    epilog = EPILOG

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--retention", type=duration, metavar="DURATION", help="instead of ORDERSAGA_RETENTION (P90D)"
        )
        parser.add_argument(
            "--batch", type=size, default=500, metavar="N", help="orders in each transaction (500)"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="count what would be deleted and change nothing"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_: Any, **options: Any) -> None:
        ours = settings()
        retention = options["retention"] or ours.retention
        if retention <= (needed := minimum_retention(ours)):
            raise CommandError(
                f"A retention of {retention} is too short: a message may be redelivered for {needed} "
                f"(deadline, "
                "reminders, retries, and a week in the broker) and would then count as new. "
                "Set ORDERSAGA_RETENTION or --retention to more.",
                returncode=FAILED,
            )
        pruned: Pruned | None = None
        console = Console(stderr=True)
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
            console=console, transient=True, disable=options["json"] or not console.is_terminal,
        ) as progress:  # fmt: skip
            task = progress.add_task("reading")

            def on_progress(now: Pruned) -> None:
                nonlocal pruned
                pruned = now
                progress.update(task, description=_sentence(now, dry=options["dry_run"]))

            try:
                with _databases(ours) as databases:
                    pruned = prune(
                        databases,
                        retention,
                        batch=options["batch"],
                        dry=options["dry_run"],
                        on_progress=on_progress,
                    )
            except KeyboardInterrupt:
                self._show_result(pruned, options, interrupted=True)
                sys.exit(INTERRUPTED)
            except OrderSagaError as error:
                raise CommandError(str(error), returncode=FAILED) from error
            except psycopg2.Error as error:
                raise CommandError(_fault(error), returncode=FAILED) from error
        self._show_result(pruned, options, interrupted=False)

    def _show_result(self, pruned: Pruned | None, options: dict[str, Any], *, interrupted: bool) -> None:
        if options["json"]:
            result = {
                "dry_run": options["dry_run"],
                "interrupted": interrupted,
                "horizon": pruned.horizon.isoformat() if pruned else None,
                "gone": dict(pruned.gone) if pruned else {},
            }
            self.stdout.write(json.dumps(result, indent=2))
        elif pruned is not None:
            self.stdout.write(
                _sentence(pruned, dry=options["dry_run"]) + (" (interrupted)" if interrupted else "")
            )


def _databases(ours: Settings) -> Databases:
    """Connect to the databases of all participants, including those of other packages."""
    from workers.choreography import choreography

    others = {
        name: participant.database.dsn
        for name, participant in choreography().participants.items()
        if name != choreography().saga.initiator and participant.steps
    }
    return Databases(ours.direct_url("orders"), others)


def _sentence(pruned: Pruned, *, dry: bool) -> str:
    gone = ", ".join(f"{count:,} {kind}" for kind, count in pruned.gone.items() if count) or "nothing"
    verb = "would be deleted, and the packs that nothing refers to" if dry else "deleted"
    return f"ended before {pruned.horizon:%Y-%m-%d %H:%M}: {gone} {verb}"


def _fault(error: psycopg2.Error) -> str:
    text = first_line(error)
    if error.pgcode == UNDEFINED_TABLE:
        return f"A database lacks tables ({text}). Run: manage.py migrate"
    if error.pgcode is None:
        return (
            f"A database does not answer: {text}. Check that PostgreSQL is running, and correct "
            "ORDERSAGA_…_DATABASE_URL if it names the wrong server."
        )
    return f"A database refused a statement: {text}"
