"""The timeline of one saga: its audit events in causal order, and the table that shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db import connection

from webapp.audit.models import DeadLetter, SagaEvent
from webapp.flower.links import flower_task_url
from webapp.operators import display_names
from webapp.orders.models import Order, Saga

MISSING_ANSWERS = """
    SELECT awaited FROM ordersaga_saga, unnest(participants) AS awaited
    WHERE id = %s AND awaited NOT IN (SELECT participant FROM ordersaga_answer WHERE saga_id = id)
"""
OPERATOR_NOTICES = frozenset(
    {"resumed", "sent again", "dead letter replayed", "dead letter discarded", "dead letter settled before"}
    | {"cancel asked", "test order placed"}
)
"""The notices that record operator actions."""

NOTICE, SIGNAL, ANSWER = range(0, 30, 10)
RESULTING_NOTICES = {"dead letter": NOTICE + 1, "rolled back": ANSWER + 1}
"""The notices that result from another event of their transaction, and their rank: a dead letter follows the
last failed attempt, the roll-back follows the last answer.
"""


@dataclass(frozen=True)
class TimelineEntry:
    """One event and the events that it caused, in the order of their times."""

    event: SagaEvent
    effects: list[TimelineEntry] = field(default_factory=list)

    @property
    def by(self) -> str:
        """The operator of an operator action, such as ``staff 3`` or ``command line``; otherwise empty."""
        return str(self.event.data.get("by", "")) if self.event.name in OPERATOR_NOTICES else ""

    def walk(self, depth: int = 0) -> Iterator[tuple[int, TimelineEntry]]:
        """Yield this entry and all that it caused, each with its depth."""
        yield depth, self
        for entry in self.effects:
            yield from entry.walk(depth + 1)


@dataclass(frozen=True)
class Timeline:
    """The timeline of one saga.

    :ivar order: None when the saga belongs to no order.
    :ivar roots: the events without a recorded cause.
    :ivar waits_for: participants whose answer is missing; empty unless the saga is rolling back.
    """

    saga: Saga
    order: Order | None
    roots: list[TimelineEntry]
    dead_letters: list[DeadLetter]
    waits_for: list[str]

    @cached_property
    def start(self) -> datetime:
        """The start of the saga's row, or its first event where the clock of that participant is behind."""
        return min([self.saga.started_at, *(entry.event.said_at for entry in self.roots)])

    def time_of(self, event: SagaEvent) -> str:
        """Return the seconds from the saga's start to the event, with a sign; participants' clocks differ."""
        return f"{(event.said_at - self.start).total_seconds():+.3f} s"


def load_timeline(saga: UUID) -> Timeline | None:
    """Load the timeline of a saga as far as the audit has recorded it; four queries for any length."""
    found = Saga.objects.select_related("order").filter(id=saga).first()
    if found is None:
        return None
    events = sorted(SagaEvent.objects.filter(saga_id=saga), key=_sort_key)
    dead_letters = list(DeadLetter.objects.filter(saga_id=saga).order_by("id"))
    order = found.order if hasattr(found, "order") else None
    return Timeline(found, order, _build_tree(events), dead_letters, _find_missing_answers(found))


def _sort_key(event: SagaEvent) -> tuple[datetime, int, int]:
    """Sort by time; events of one transaction share it, and sort notices, signals, answers."""
    return event.said_at, _rank(event), event.id


def _rank(event: SagaEvent) -> int:
    if event.kind == SagaEvent.Kind.NOTICE:
        return RESULTING_NOTICES.get(event.name, NOTICE)
    return ANSWER if event.kind == SagaEvent.Kind.ANSWER else SIGNAL


def _build_tree(events: list[SagaEvent]) -> list[TimelineEntry]:
    """Put each event below its cause; one whose cause is not recorded becomes a root."""
    entries = {event.event_id: TimelineEntry(event) for event in events}
    roots = []
    effects: defaultdict[UUID, list[TimelineEntry]] = defaultdict(list)
    for entry in entries.values():
        cause = entry.event.cause
        if cause in entries and cause != entry.event.event_id:
            effects[cause].append(entry)
        else:
            roots.append(entry)
    for id_, entry in entries.items():
        entry.effects.extend(effects[id_])
    return roots


def _find_missing_answers(saga: Saga) -> list[str]:
    if saga.status != Saga.Status.ROLLING_BACK:
        return []
    with connection.cursor() as cursor:
        cursor.execute(MISSING_ANSWERS, [saga.id])
        return [name for (name,) in cursor.fetchall()]


MAX_DEPTH = 12
"""The deepest level that is indented."""
MAX_REPEATS = 5
"""Rows shown of an event that repeats, such as an undo that fails for days."""


@dataclass
class TableRow:
    """:ivar task: the address of the task in Flower.
    :ivar repeats: how many further events like this one are left out, the last of them at ``last_time``.
    """

    event: SagaEvent
    indent: float
    time: str
    steps: str
    by: str
    task: str | None
    attempt: int | None
    repeats: int = 0
    last_time: str = ""


def build_table(timeline: Timeline | None) -> dict[str, Any]:
    """Return ``rows`` and ``dead_letters`` for the page; one query reads the names of operators."""
    if timeline is None:
        return {"rows": [], "dead_letters": []}
    entries = [pair for root in timeline.roots for pair in root.walk()]
    names = display_names(
        [*(entry.by for _, entry in entries), *(dead.settled_by or "" for dead in timeline.dead_letters)]
    )
    rows: list[TableRow] = []
    alike: defaultdict[object, list[TableRow]] = defaultdict(list)
    for depth, entry in entries:
        event = entry.event
        row = TableRow(
            event=event,
            indent=0.5 + 1.2 * min(depth, MAX_DEPTH),
            time=timeline.time_of(event),
            steps=", ".join(event.data.get("steps") or []) or event.step or "",  # a notice may list its steps
            by=names[entry.by],
            task=flower_task_url(event.task_id) if event.task_id else None,
            attempt=_attempt_of(event),
        )
        same = alike[event.cause, event.name, event.again, event.participant, row.steps, event.reason]
        if not entry.effects and len(same) >= MAX_REPEATS:
            same[-1].repeats += 1
            same[-1].last_time = row.time
        else:
            rows.append(row)
            same.append(row)
    dead_letters = [(dead, names[dead.settled_by or ""]) for dead in timeline.dead_letters]
    return {"rows": rows, "dead_letters": dead_letters}


def _attempt_of(event: SagaEvent) -> int | None:
    """Prefer the attempt that a notice counts, because the task of a repeated undo starts again at 1."""
    counted = event.data.get("attempt") if event.kind == SagaEvent.Kind.NOTICE else None
    return counted or event.attempt
