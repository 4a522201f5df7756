"""The progress of a saga: the last signal it has reached, the step it waits for, and its deadline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connection

from ordersaga.signal import Signal
from webapp.audit.models import SagaEvent
from webapp.orders.models import Saga

EMITTED = """
    SELECT saga_id, name FROM audit_sagaevent WHERE saga_id = ANY(%s) AND kind = 'signal' AND name = ANY(%s)
"""
MISSING_ANSWERS = """
    SELECT saga.id, array_agg(awaited ORDER BY awaited)
    FROM ordersaga_saga AS saga, unnest(participants) AS awaited
    WHERE saga.id = ANY(%s)
    AND awaited NOT IN (SELECT participant FROM ordersaga_answer WHERE saga_id = saga.id)
    GROUP BY saga.id
"""
TIMERS = "SELECT kind, due_at FROM ordersaga_outbox WHERE saga_id = %s"


@dataclass(frozen=True)
class Progress:
    """The progress of one saga, as far as the audit has recorded it.

    :ivar waits_for: a step, or the participants whose answers are missing; empty when the saga has ended.
    :ivar until: when the saga expires, while it is pending.
    :ivar reminded_at: when the watchdog re-sends what the saga waits for.
    """

    reached: str
    waits_for: str
    until: datetime | None
    reminded_at: datetime | None


@cache
def success_path() -> dict[str, str]:
    """Return the path of a saga without refusals: by each signal's name, the step that consumes it.

    Where several steps consume a signal, the path follows one whose signal another step consumes.
    """
    from workers.choreography import choreography  # imports all participants, so only when a page needs it

    whole = choreography()
    path: dict[str, str] = {}
    signal: type[Signal] | None = whole.saga.begins_with
    while signal is not None and (steps := whole.consumers(signal)):
        step = next((step for step in steps if any(map(whole.consumers, step.successes))), steps[0])
        path[signal.__name__] = step.key
        signal = next(iter(step.successes), None)
    return path


def read_progress(saga: Saga, events: Sequence[SagaEvent], missing: Sequence[str]) -> Progress:
    """Return the progress of one saga; one query, or none when it has ended.

    :param missing: the participants whose answer is missing.
    """
    signals = [event.name for event in events if event.kind == SagaEvent.Kind.SIGNAL]
    return _derive(saga, signals, missing, {} if saga.ended_at else dict(_query(TIMERS, saga.id)))


def read_progress_of_many(sagas: Sequence[Saga]) -> dict[UUID, Progress]:
    """Return the progress of many sagas, without the times of their reminders; two queries."""
    signals: defaultdict[UUID, list[str]] = defaultdict(list)
    for id_, name in _query(EMITTED, [saga.id for saga in sagas], list(success_path())):
        signals[id_].append(name)
    missing = dict(_query(MISSING_ANSWERS, [saga.id for saga in sagas if saga.ended_at is None]))
    return {saga.id: _derive(saga, signals[saga.id], missing.get(saga.id, []), {}) for saga in sagas}


def _derive(
    saga: Saga, signals: Iterable[str], missing: Sequence[str], timers: Mapping[str, datetime]
) -> Progress:
    path = success_path()
    furthest = max((name for name in signals if name in path), key=list(path).index, default=None)
    if saga.ended_at is not None:  # its audit events may have been pruned, or never recorded
        return Progress(furthest or "not in the audit trail", "", None, None)
    reached = furthest or "no event recorded yet"
    if saga.status == Saga.Status.ROLLING_BACK:
        waits_for = f"the answer of {', '.join(missing)}" if missing else "the orders pool: all have answered"
        refusal = f"{reached}, then {saga.refusal} by {saga.refused_by}"
        return Progress(refusal, waits_for, None, timers.get("watchdog"))
    until = saga.deadline_at if saga.status == Saga.Status.PENDING else None
    return Progress(reached, path[furthest or next(iter(path))], until, timers.get("watchdog"))


def _query(statement: str, *values: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
