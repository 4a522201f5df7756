"""Statistics of the orders of one run, read from the orders database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db import connection

# A run's orders share the prefix of their keys; the condition on the number skips older orders.
RUN_ORDERS = (
    "FROM orders_order o JOIN ordersaga_saga s ON s.id = o.saga_id WHERE o.id >= %s AND "
    "starts_with(o.idempotency_key, %s)"
)
COUNT_OPEN = f"SELECT count(*), min(o.id) {RUN_ORDERS} AND s.ended_at IS NULL"
OUTCOMES = f"""
    SELECT s.status, s.ended_at IS NULL, coalesce(s.refusal, ''), coalesce(s.reason, ''),
        count(*), count(s.attention) {RUN_ORDERS} GROUP BY 1, 2, 3, 4
"""
SPEED = f"""
    SELECT coalesce(extract(epoch FROM max(s.ended_at) - min(o.placed_at)), 0)::float,
        coalesce(percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY extract(epoch
        FROM s.ended_at - o.placed_at)
            ) FILTER (WHERE s.ended_at IS NOT NULL), '{{0,0}}')
    {RUN_ORDERS}
"""  # noqa: S608 - constants
CANCELS = """
    SELECT coalesce(c.outcome, ''), count(*) FROM orders_cancelrequest c
    JOIN orders_order o ON o.id = c.order_id
    WHERE o.id >= %s AND starts_with(o.idempotency_key, %s) GROUP BY 1
"""


@dataclass(frozen=True)
class Figures:
    """The outcomes of a run's orders; durations are in seconds.

    :ivar reasons: rolled back orders by reason.
    :ivar open: orders that have not settled, by status.
    :ivar settling: from the first order placed to the last one settled.
    :ivar cancels: cancel requests by outcome; "" is none yet.
    """

    placed: int = 0
    confirmed: int = 0
    rolled_back: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    open: dict[str, int] = field(default_factory=dict)
    attention: int = 0
    settling: float = 0.0
    median: float = 0.0
    slowest: float = 0.0
    cancels: dict[str, int] = field(default_factory=dict)

    @property
    def settled(self) -> int:
        return self.confirmed + self.rolled_back

    @property
    def settled_per_second(self) -> float:
        return self.settled / self.settling if self.settling else 0.0


class Stats:
    """Counts the orders whose keys begin with ``run``; ``first`` is their lowest number."""

    def __init__(self, run: str, first: int) -> None:
        self._run, self._first = run, first
        self._low = first

    def open(self) -> int:
        """Return how many have not settled."""
        ((count, lowest),) = self._rows(COUNT_OPEN, self._low)
        self._low = lowest or self._low
        return int(count)

    def figures(self) -> Figures:
        """Return all figures."""
        outcomes = self._rows(OUTCOMES, self._first)
        ((settling, (median, slowest)),) = self._rows(SPEED, self._first)
        reasons: dict[str, int] = {}
        still_open: dict[str, int] = {}
        for status, is_open, refusal, reason, count, _ in sorted(outcomes, key=lambda row: -row[4]):
            if refusal and not is_open:
                reasons[reason or refusal] = reasons.get(reason or refusal, 0) + count
            if is_open:
                still_open[status] = still_open.get(status, 0) + count
        return Figures(
            placed=sum(row[4] for row in outcomes),
            confirmed=sum(row[4] for row in outcomes if row[0] == "CONFIRMED" and not row[1]),
            rolled_back=sum(row[4] for row in outcomes if row[0] == "ROLLED_BACK"),
            reasons=reasons,
            open=still_open,
            attention=sum(row[5] for row in outcomes),
            settling=settling,
            median=median,
            slowest=slowest,
            cancels=dict(self._rows(CANCELS, self._first)),
        )

    def _rows(self, statement: str, first: int) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(statement, [first, self._run])
            return cursor.fetchall()
