"""Dead letters for people, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from webapp.audit.models import DeadLetter, SagaEvent
from webapp.audit.timeline import Timeline, TimelineEntry
from webapp.ops.cli.console import escape_unprintable

SHOWN_BYTES = 4_000


def dead_letter_record(letter: DeadLetter, *, whole: bool) -> dict[str, Any]:
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


def list_dead_letters(letters: Iterable[DeadLetter], console: Console) -> int:
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
        error = escape_unprintable(f"{letter.error}: {letter.message}".splitlines()[0])
        console.print(
            Text(f"{'':8}{error}", style="red" if letter.outcome is None else "dim"), soft_wrap=True
        )
    return len(told)


def show_dead_letter(letter: DeadLetter, console: Console) -> None:
    """All of one letter."""
    for name, value in dead_letter_record(letter, whole=False).items():
        if value is not None:
            console.print(Text.assemble((f"{name:12}", "dim"), escape_unprintable(str(value), keep="\n")))
    for name, text in (("traceback", letter.traceback), ("body", body_of(letter))):
        if text:
            console.print(Text(f"\n{name}", style="bold"))
            console.print(Text(escape_unprintable(text.rstrip(), keep="\n\t")))


STYLES = {"refusal": "bold red", "answer": "dim", "notice": "dim", "attention": "bold yellow"}


def saga_as_json(story: Timeline) -> str:
    """Everything that is known, for scripts; the events in causal order, each with its depth."""
    saga, order = story.saga, story.order
    return json.dumps(
        {
            "saga": str(saga.id),
            "order": order.id if order else None,
            "customer": order.customer if order else None,
            "amount": order.amount if order else None,
            "currency": order.currency if order else None,
            "status": saga.status,
            "reason": saga.reason,
            "refused_by": saga.refused_by,
            "attention": saga.attention,
            "started_at": _iso(saga.started_at),
            "deadline_at": _iso(saga.deadline_at),
            "ended_at": _iso(saga.ended_at),
            "waits_for": story.waits_for,
            "events": [_event(depth, told) for begun in story.roots for depth, told in begun.walk()],
            "dead_letters": [letter.id for letter in story.letters],
        },
        indent=2,
    )


def show_saga(story: Timeline, console: Console) -> None:
    """Where the saga stands, then what was said, each line under what led to it."""
    saga, order = story.saga, story.order
    name = f"order {order.id}, " if order else ""
    console.print(Text.assemble((f"{name}saga {saga.id}", "bold")))
    stands = Text(f"{saga.get_status_display()}" + (f": {saga.reason}" if saga.reason else ""))
    console.print(stands)
    if saga.attention:
        console.print(Text(f"needs attention: {escape_unprintable(saga.attention)}", style="bold yellow"))
    if story.waits_for:
        console.print(Text(f"waits for the answer of {', '.join(story.waits_for)}", style="yellow"))
    if saga.ended_at is None:
        console.print(
            Text(
                f"open; reminded {saga.rounds} times in vain; deadline {saga.deadline_at:%Y-%m-%d %H:%M:%S %Z}"
            )
        )
    tree = Tree(Text(f"{saga.started_at:%Y-%m-%d %H:%M:%S.%f}"[:-3] + " begun"))
    for told in story.roots:
        _grow(tree, told, story)
    console.print(tree)
    if not story.roots:
        console.print(
            Text(
                "Nothing was heard of it yet: is the audit pool running? celery -A workers.audit worker",
                style="yellow",
            )
        )
    for letter in story.letters:
        console.print(
            Text(
                f"dead letter {letter.id} at {letter.participant}: {escape_unprintable(letter.message)}",
                style="red",
            )
        )


def _grow(tree: Tree, told: TimelineEntry, story: Timeline) -> None:
    branch = tree.add(_line(told, story))
    for led_to in told.effects:
        _grow(branch, led_to, story)


def _line(told: TimelineEntry, story: Timeline) -> Text:
    event = told.event
    line = Text(f"{story.after(event)}  ", style="dim")
    line.append(f"{event.participant}: {event.name}", style=STYLES.get(event.kind, "bold"))
    steps = ", ".join(event.data.get("steps", [])) or event.step  # a notice tells which steps it is about
    for part in (
        steps or "",
        f"attempt {event.attempt}" if (event.attempt or 1) > 1 else "",
        "again" if event.again else "",
        f"by {told.by}" if told.by else "",
        event.reason or "",
    ):
        if part:
            line.append(f" · {escape_unprintable(part)}", style="default")
    return line


def _event(depth: int, told: TimelineEntry) -> dict[str, Any]:
    event: SagaEvent = told.event
    return {
        "depth": depth,
        "event": str(event.event_id),
        "cause": str(event.cause) if event.cause else None,
        "kind": event.kind,
        "name": event.name,
        "participant": event.participant,
        "step": event.step,
        "task": event.task_id,
        "attempt": event.attempt,
        "again": event.again,
        "reason": event.reason,
        "by": told.by or None,
        "said_at": _iso(event.said_at),
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
