"""Placing a plan at its pace, a few orders to a transaction, and asking to cancel those whose customers want
it.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from itertools import islice

from django.db import transaction

from webapp.ops.cli.graceful_stop import StopRequest
from webapp.ops.loadgen.plan import Planned
from webapp.orders.models import Order
from webapp.orders.services import cancel_order, place_orders

ASKED_BY = "seed_orders"


class Run:
    """One run of :meth:`place`; its figures are true at any moment.

    :ivar placed: how many orders were placed.
    :ivar asked: how many were asked to be cancelled.
    :ivar first: the first one's number; all others have higher ones.
    :ivar seconds: how long placing has taken.
    """

    def __init__(self, stop: StopRequest, told: Callable[[], None] = lambda: None) -> None:
        """:param told: called after each transaction."""
        self._stop, self._told = stop, told
        self._wishes: list[tuple[float, int, Order]] = []
        self.placed = self.asked = 0
        self.first: int | None = None
        self.seconds = 0.0

    def place(self, planned: Iterator[Planned], *, batch: int, rate: float = 0) -> None:
        """Place all that is planned, or what there is time for until it is to stop.

        :param batch: the most orders in one transaction.
        :param rate: orders a second; 0 is as fast as possible. Who falls behind catches up.
        """
        started = time.monotonic()
        while not self._stop.requested:
            due = batch
            if rate:
                if not self._wait_until(started + self.placed / rate):
                    break
                due = int((time.monotonic() - started) * rate) + 1 - self.placed
            wanted = list(islice(planned, max(1, min(due, batch))))
            if not wanted:
                break
            self._place(wanted)
            self.seconds = time.monotonic() - started
            self._cancel()
            self._told()
        while self._wishes and self._wait_until(self._wishes[0][0]):
            self._cancel()
            self._told()

    def _wait_until(self, moment: float) -> bool:
        while self._wishes and self._wishes[0][0] < moment:
            if not self._stop.wait_until(self._wishes[0][0]):
                return False
            self._cancel()
        return self._stop.wait_until(moment)

    def _place(self, wanted: list[Planned]) -> None:
        orders = place_orders(each.order for each in wanted)
        now = time.monotonic()
        self.placed += len(orders)
        if self.first is None:
            self.first = min(order.id for order in orders)
        for each, order in zip(wanted, orders, strict=True):
            if each.cancel_after is not None:
                heapq.heappush(self._wishes, (now + each.cancel_after, order.id, order))

    def _cancel(self) -> None:
        """Ask for those whose moment has come, in one transaction."""
        due = []
        while self._wishes and self._wishes[0][0] <= time.monotonic():
            due.append(heapq.heappop(self._wishes)[2])
        if due:
            with transaction.atomic():
                for order in due:
                    cancel_order(order, ASKED_BY)
            self.asked += len(due)
