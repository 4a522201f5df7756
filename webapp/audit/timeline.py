"""The whole story of one saga: what was said, in causal order, by whom, in which attempt."""

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
"""Notices of what operators did."""

DID, SAID, ANSWERED = range(0, 30, 10)
FOLLOWS = {"dead letter": DID + 1, "rolled back": ANSWERED + 1}
"""Notices that follow from something else of their transaction: from the failure that was the last, from the
last answer.
"""


@dataclass(frozen=True)
class TimelineEntry:
    """One event with what it led to, in the order of saying."""

    event: SagaEvent
    effects: list[TimelineEntry] = field(default_factory=list)

    @property
    def by(self) -> str:
        """Which operator did it, if one did: ``staff 3`` or ``command line``."""
        return str(self.event.data.get("by", "")) if self.event.name in OPERATOR_NOTICES else ""

    def walk(self, depth: int = 0) -> Iterator[tuple[int, TimelineEntry]]:
        """The event and all that came of it, each with its depth."""
        yield depth, self
        for told in self.effects:
            yield from told.walk(depth + 1)


@dataclass(frozen=True)
class Timeline:
    """``order`` is None when the saga was begun by something else."""

    saga: Saga
    order: Order | None
    roots: list[TimelineEntry]
    letters: list[DeadLetter]
    waits_for: list[str]
    """Participants whose answer to the refusal is missing; empty unless the saga is rolling back."""

    @cached_property
    def began(self) -> datetime:
        """When all begins: with its row or, if the clock of whoever said that is behind, with its first
        signal.
        """
        return min([self.saga.started_at, *(told.event.said_at for told in self.roots)])

    def after(self, event: SagaEvent) -> str:
        """How long after the saga's beginning it was said, in seconds with a sign: each speaker has a clock
        of its own.
        """
        return f"{(event.said_at - self.began).total_seconds():+.3f} s"


def load_timeline(saga: UUID) -> Timeline | None:
    """The story of a saga as far as it was heard; four queries, whatever its length."""
    found = Saga.objects.select_related("order").filter(id=saga).first()
    if found is None:
        return None
    events = sorted(SagaEvent.objects.filter(saga_id=saga), key=_sort_key)
    letters = list(DeadLetter.objects.filter(saga_id=saga).order_by("id"))
    order = found.order if hasattr(found, "order") else None
    return Timeline(found, order, _build_tree(events), letters, _find_missing_answers(found))


def _sort_key(event: SagaEvent) -> tuple[datetime, int, int]:
    """What one transaction says has one time, and ids tell no order: what is heard together is written by
    kind and name.

    So at one time stands first what was done, then what was said of that, then the answer.
    """
    return event.said_at, _rank(event), event.id


def _rank(event: SagaEvent) -> int:
    if event.kind == SagaEvent.Kind.NOTICE:
        return FOLLOWS.get(event.name, DID)
    return ANSWERED if event.kind == SagaEvent.Kind.ANSWER else SAID


def _build_tree(events: list[SagaEvent]) -> list[TimelineEntry]:
    """Causes before effects; an event whose cause was not heard begins a tree of its own."""
    heard = {event.event_id: TimelineEntry(event) for event in events}
    beginnings = []
    followers: defaultdict[UUID, list[TimelineEntry]] = defaultdict(list)
    for told in heard.values():
        cause = told.event.cause
        if cause in heard and cause != told.event.event_id:
            followers[cause].append(told)
        else:
            beginnings.append(told)
    for id_, told in heard.items():
        told.effects.extend(followers[id_])
    return beginnings


def _find_missing_answers(saga: Saga) -> list[str]:
    if saga.status != Saga.Status.ROLLING_BACK:
        return []
    with connection.cursor() as cursor:
        cursor.execute(MISSING_ANSWERS, [saga.id])
        return [name for (name,) in cursor.fetchall()]


MAX_DEPTH = 12
"""Levels that are still indented."""
MAX_REPEATS = 5
"""Lines that are shown of what is said again and again, as an undo that fails for days."""


@dataclass
class TableRow:
    event: SagaEvent
    indent: float
    after: str
    steps: str
    by: str
    task: str | None
    """Where it ran, in Flower."""
    attempt: int | None
    more: int = 0
    """How often the same was said after it."""
    until: str = ""
    """When the last of these was."""


def build_table(story: Timeline | None) -> dict[str, Any]:
    """``safe_message`` and ``letters`` for the page; the operators' names take one query."""
    if story is None:
        return {"told": [], "letters": []}
    walked = [pair for begun in story.roots for pair in begun.walk()]
    who = display_names(
        [*(told.by for _, told in walked), *(letter.settled_by or "" for letter in story.letters)]
    )
    lines: list[TableRow] = []
    alike: defaultdict[object, list[TableRow]] = defaultdict(list)
    for depth, told in walked:
        event = told.event
        steps = (
            ", ".join(event.data.get("steps") or []) or event.step or ""
        )  # a notice tells which steps it is about
        task = flower_task_url(event.task_id) if event.task_id else None
        counted = event.data.get("attempt") if event.kind == SagaEvent.Kind.NOTICE else None
        attempt = counted or event.attempt  # the task that tries an undo again begins to count anew
        line = TableRow(
            event, 0.5 + 1.2 * min(depth, MAX_DEPTH), story.after(event), steps, who[told.by], task, attempt
        )
        same = alike[event.cause, event.name, event.again, event.participant, steps, event.reason]
        if not told.effects and len(same) >= MAX_REPEATS:
            same[-1].more += 1
            same[-1].until = line.after
        else:
            lines.append(line)
            same.append(line)
    return {"told": lines, "letters": [(letter, who[letter.settled_by or ""]) for letter in story.letters]}
