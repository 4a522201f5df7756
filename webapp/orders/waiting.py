"""Where a saga stands: the step it has reached, whom it waits for, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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
"""The way of an order that nobody refuses: which step takes each signal up. A test compares it with the choreography."""

TIMERS = "SELECT kind, due_at FROM ordersaga_outbox WHERE saga_id = %s"


@dataclass(frozen=True)
class Stand:
    """Of one saga, as far as the audit has heard; ``until`` is when it expires, while it can."""

    reached: str
    waits_for: str
    until: datetime | None
    reminded_at: datetime | None


def stand_of(saga: Saga, events: Sequence[SagaEvent], missing: Sequence[str]) -> Stand:
    """Where ``saga`` stands; ``missing`` are the participants whose answer is missing. One query, or none when it has ended."""
    said = [event.name for event in events if event.kind == SagaEvent.Kind.SIGNAL and event.name in NEXT]
    furthest = max(said, key=list(NEXT).index, default=None)
    reached = furthest or "nothing heard yet"
    if saga.ended_at is not None:
        return Stand(reached, "", None, None)
    with connection.cursor() as cursor:
        cursor.execute(TIMERS, [saga.id])
        timers: dict[str, datetime] = dict(cursor.fetchall())
    if saga.status == Saga.Status.ROLLING_BACK:
        whom = f"the answer of {', '.join(missing)}" if missing else "the orders pool: all have answered"
        return Stand(f"{reached}, then {saga.refusal} by {saga.refused_by}", whom, None, timers.get("watchdog"))
    until = saga.deadline_at if saga.status == Saga.Status.PENDING else None
    return Stand(reached, NEXT[furthest or "OrderPlaced"], until, timers.get("watchdog"))
