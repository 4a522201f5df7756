"""Dead letters and saga timelines for the terminal, and as JSON."""

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
STYLES = {"refusal": "bold red", "answer": "dim", "notice": "dim", "attention": "bold yellow"}


def dead_letter_record(letter: DeadLetter, *, complete: bool) -> dict[str, Any]:
    """Return a dead letter for scripts.

    :param complete: add its headers, traceback and the first :data:`SHOWN_BYTES` of its body.
    """
    record: dict[str, Any] = {
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
    if complete:
        record |= {
            "digest": letter.digest,
            "headers": letter.headers,
            "traceback": letter.traceback,
            "body": _beginning_of_body(letter),
        }
    return record


def _beginning_of_body(letter: DeadLetter) -> str:
    return bytes(letter.body[:SHOWN_BYTES]).decode("utf-8", "backslashreplace")


def list_dead_letters(letters: Iterable[DeadLetter], console: Console) -> int:
    """Print two lines for each dead letter, for a terminal of 80 columns; return how many were printed."""
    count = 0
    for letter in letters:
        count += 1
        parts = (
            f"{letter.received_at:%Y-%m-%d %H:%M:%S}",
            letter.step or letter.participant,
            letter.topic,
            f"{letter.attempts} attempt{'' if letter.attempts == 1 else 's'}",
            letter.outcome or "open",
        )
        console.print(
            Text.assemble((f"{letter.id:>6}  ", "bold"), "  ".join(filter(None, parts))), soft_wrap=True
        )
        error = escape_unprintable(f"{letter.error}: {letter.message}".splitlines()[0])
        style = "red" if letter.outcome is None else "dim"
        console.print(Text(f"{'':8}{error}", style=style), soft_wrap=True)
    return count


def show_dead_letter(letter: DeadLetter, console: Console) -> None:
    for name, value in dead_letter_record(letter, complete=False).items():
        if value is not None:
            console.print(Text.assemble((f"{name:12}", "dim"), escape_unprintable(str(value), keep="\n")))
    for name, text in (("traceback", letter.traceback), ("body", _beginning_of_body(letter))):
        if text:
            console.print(Text(f"\n{name}", style="bold"))
            console.print(Text(escape_unprintable(text.rstrip(), keep="\n\t")))


def saga_as_json(timeline: Timeline) -> str:
    """Return a saga for scripts; its events are in causal order, each with its depth."""
    saga, order = timeline.saga, timeline.order
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
            "waits_for": timeline.waits_for,
            "events": [_event(depth, entry) for root in timeline.roots for depth, entry in root.walk()],
            "dead_letters": [letter.id for letter in timeline.dead_letters],
        },
        indent=2,
    )


def show_saga(timeline: Timeline, console: Console) -> None:
    """Print the saga's status, then its events as a tree, each below its cause."""
    saga, order = timeline.saga, timeline.order
    name = f"order {order.id}, " if order else ""
    console.print(Text.assemble((f"{name}saga {saga.id}", "bold")))
    console.print(Text(f"{saga.get_status_display()}" + (f": {saga.reason}" if saga.reason else "")))
    if saga.attention:
        console.print(Text(f"needs attention: {escape_unprintable(saga.attention)}", style="bold yellow"))
    if timeline.waits_for:
        console.print(Text(f"waits for the answer of {', '.join(timeline.waits_for)}", style="yellow"))
    if saga.ended_at is None:
        deadline = f"{saga.deadline_at:%Y-%m-%d %H:%M:%S %Z}"
        console.print(Text(f"open; {saga.rounds} reminders without effect; deadline {deadline}"))
    tree = Tree(Text(f"{saga.started_at:%Y-%m-%d %H:%M:%S.%f}"[:-3] + " started"))
    for root in timeline.roots:
        _add_branch(tree, root, timeline)
    console.print(tree)
    if not timeline.roots:
        hint = "The audit trail contains no event of this saga yet. Check that the audit pool is running: "
        console.print(Text(f"{hint}celery -A workers.audit worker", style="yellow"))
    for letter in timeline.dead_letters:
        message = escape_unprintable(letter.message)
        console.print(Text(f"dead letter {letter.id} of {letter.participant}: {message}", style="red"))


def _add_branch(tree: Tree, entry: TimelineEntry, timeline: Timeline) -> None:
    branch = tree.add(_line(entry, timeline))
    for effect in entry.effects:
        _add_branch(branch, effect, timeline)


def _line(entry: TimelineEntry, timeline: Timeline) -> Text:
    event = entry.event
    line = Text(f"{timeline.time_of(event)}  ", style="dim")
    line.append(f"{event.participant}: {event.name}", style=STYLES.get(event.kind, "bold"))
    steps = ", ".join(event.data.get("steps", [])) or event.step  # a notice may list its steps
    for part in (
        steps or "",
        f"attempt {event.attempt}" if (event.attempt or 1) > 1 else "",
        "again" if event.again else "",
        f"by {entry.by}" if entry.by else "",
        event.reason or "",
    ):
        if part:
            line.append(f" · {escape_unprintable(part)}", style="default")
    return line


def _event(depth: int, entry: TimelineEntry) -> dict[str, Any]:
    event: SagaEvent = entry.event
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
        "by": entry.by or None,
        "said_at": _iso(event.said_at),
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
