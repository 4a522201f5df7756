"""Where a saga stands: the step it has reached, whom it waits for, and until when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from webapp.audit.models import SagaEvent
from webapp.orders.models import Saga

NEXT = {
    "OrderPlaced": "inventory.reserve_stock",
    "StockReserved": "payments.charge",
    "PaymentCharged": "orders.confirm_order",
    "OrderConfirmed": "inventory.ship_stock",
    "StockShipped": "orders.complete_order",
}
"""The way of an order that nobody refuses: which step takes each signal up. A test compares it with the
choreography.
"""

EMITTED = """
    SELECT saga_id, name FROM audit_sagaevent WHERE saga_id = ANY(%s) AND kind = 'signal' AND name = ANY(%s)
"""
MISSING = """
    SELECT saga.id, array_agg(awaited ORDER BY awaited) FROM ordersaga_saga AS saga, unnest(participants) AS awaited
    WHERE saga.id = ANY(%s) AND awaited NOT IN (SELECT participant FROM ordersaga_answer WHERE saga_id = saga.id)
    GROUP BY saga.id
"""
TIMERS = "SELECT kind, due_at FROM ordersaga_outbox WHERE saga_id = %s"


@dataclass(frozen=True)
class Progress:
    """Of one saga, as far as the audit has heard; ``until`` is when it expires, while it can."""

    reached: str
    waits_for: str
    until: datetime | None
    reminded_at: datetime | None


def read_progress(saga: Saga, events: Sequence[SagaEvent], missing: Sequence[str]) -> Progress:
    """Where ``saga`` stands; ``missing`` are the participants whose answer is missing. One query, or none
    when it has ended.
    """
    said = [event.name for event in events if event.kind == SagaEvent.Kind.SIGNAL]
    return _derive(saga, said, missing, {} if saga.ended_at else dict(_query(TIMERS, saga.id)))


def read_progress_of_many(sagas: Sequence[Saga]) -> dict[UUID, Progress]:
    """Where ``sagas`` stand, without their reminders; two queries, however many."""
    said: defaultdict[UUID, list[str]] = defaultdict(list)
    for id_, name in _query(EMITTED, [saga.id for saga in sagas], list(NEXT)):
        said[id_].append(name)
    missing = dict(_query(MISSING, [saga.id for saga in sagas if saga.ended_at is None]))
    return {saga.id: _derive(saga, said[saga.id], missing.get(saga.id, []), {}) for saga in sagas}


def _derive(
    saga: Saga, said: Iterable[str], missing: Sequence[str], timers: Mapping[str, datetime]
) -> Progress:
    furthest = max((name for name in said if name in NEXT), key=list(NEXT).index, default=None)
    if saga.ended_at is not None:  # its trail may have been pruned, or was never kept
        return Progress(furthest or "not in the audit trail", "", None, None)
    reached = furthest or "nothing heard yet"
    if saga.status == Saga.Status.ROLLING_BACK:
        whom = f"the answer of {', '.join(missing)}" if missing else "the orders pool: all have answered"
        return Progress(
            f"{reached}, then {saga.refusal} by {saga.refused_by}", whom, None, timers.get("watchdog")
        )
    until = saga.deadline_at if saga.status == Saga.Status.PENDING else None
    return Progress(reached, NEXT[furthest or "OrderPlaced"], until, timers.get("watchdog"))


def _query(statement: str, *values: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
