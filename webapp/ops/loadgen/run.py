"""Place planned orders at a rate, several in each transaction, and send their cancel requests."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from itertools import islice

from django.db import transaction

from webapp.ops.cli.graceful_stop import StopRequest
from webapp.ops.loadgen.plan import Planned
from webapp.orders.models import Order
from webapp.orders.services import place_orders, send_cancel_request

ASKED_BY = "seed_orders"


class Run:
    """One run of :meth:`place`, with its current figures.

    :ivar placed: the number of orders placed.
    :ivar asked: the number of cancel requests sent.
    :ivar first: the lowest order number.
    :ivar seconds: how long placing has taken.
    """

    def __init__(self, stop: StopRequest, on_progress: Callable[[], None] = lambda: None) -> None:
        """:param on_progress: called after each transaction."""
        self._stop, self._on_progress = stop, on_progress
        self._wishes: list[tuple[float, int, Order]] = []
        self.placed = self.asked = 0
        self.first: int | None = None
        self.seconds = 0.0

    def place(self, planned: Iterator[Planned], *, batch: int, rate: float = 0) -> None:
        """Place all planned orders, or those placed before a stop is requested.

        :param batch: the most orders in one transaction.
        :param rate: orders per second; 0 is as fast as possible. A delay is caught up.
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
            self._on_progress()
        while self._wishes and self._wait_until(self._wishes[0][0]):
            self._cancel()
            self._on_progress()

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
        """Send the cancel requests that are due, in one transaction."""
        due = []
        while self._wishes and self._wishes[0][0] <= time.monotonic():
            due.append(heapq.heappop(self._wishes)[2])
        if due:
            with transaction.atomic():
                for order in due:
                    send_cancel_request(order, ASKED_BY)
            self.asked += len(due)
