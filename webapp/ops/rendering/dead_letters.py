"""Dead letters for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from webapp.audit.models import DeadLetter
from webapp.ops.cli.console import printable

SHOWN_BYTES = 4_000


def record(letter: DeadLetter, *, whole: bool) -> dict[str, Any]:
    """A letter for scripts; its traceback and the beginning of its body only when it is to be ``whole``."""
    told: dict[str, Any] = {
        "id": letter.id,
        "source": letter.source,
        "participant": letter.participant,
        "step": letter.step,
        "topic": letter.topic,
        "saga": str(letter.saga_id) if letter.saga_id else None,
        "error": letter.error,
        "message": letter.message,
        "attempts": letter.attempts,
        "received_at": letter.received_at.isoformat(),
        "outcome": letter.outcome,
        "settled_by": letter.settled_by,
        "settled_why": letter.settled_why,
    }
    if whole:
        told |= {
            "digest": letter.digest,
            "headers": letter.headers,
            "traceback": letter.traceback,
            "body": body_of(letter),
        }
    return told


def body_of(letter: DeadLetter) -> str:
    """The beginning of the body, with what is no text as escapes."""
    return bytes(letter.body[:SHOWN_BYTES]).decode("utf-8", "backslashreplace")


def listed(letters: Iterable[DeadLetter], console: Console) -> int:
    """Two lines each, readable in eighty columns; gives how many."""
    told = list(letters)
    for letter in told:
        where = letter.step or letter.participant
        tried = f"{letter.attempts} attempt{'' if letter.attempts == 1 else 's'}"
        parts = (
            f"{letter.received_at:%Y-%m-%d %H:%M:%S}",
            where,
            letter.topic,
            tried,
            letter.outcome or "open",
        )
        console.print(
            Text.assemble((f"{letter.id:>6}  ", "bold"), "  ".join(filter(None, parts))), soft_wrap=True
        )
        error = printable(f"{letter.error}: {letter.message}".splitlines()[0])
        console.print(
            Text(f"{'':8}{error}", style="red" if letter.outcome is None else "dim"), soft_wrap=True
        )
    return len(told)


def show(letter: DeadLetter, console: Console) -> None:
    """All of one letter."""
    for name, value in record(letter, whole=False).items():
        if value is not None:
            console.print(Text.assemble((f"{name:12}", "dim"), printable(str(value), keep="\n")))
    for name, text in (("traceback", letter.traceback), ("body", body_of(letter))):
        if text:
            console.print(Text(f"\n{name}", style="bold"))
            console.print(Text(printable(text.rstrip(), keep="\n\t")))
