"""Places orders at an even rate: ``python -m tests.faults.load --rate 30 --seed 1`` runs until SIGTERM.

It prints one JSON line for each placed order. A failed order is retried under the same key, as a browser
would, and overdue orders are placed at once.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

SKUS = [f"SKU-{number}" for number in range(40)]
CUSTOMERS = [f"customer-{number}" for number in range(60)]
POPULAR = 0.3
"""The share of orders of the first product, and of orders of the first customer, so that their locks are
contended.
"""
DECLINED_CUSTOMERS = ["poor", "blocked"]
CANCELLED_WITHIN = 1.0
"""Seconds after placing."""
PAUSE = 0.2
"""Seconds before a failed order is retried."""


class Kind(StrEnum):
    """The outcome of an order when nothing fails."""

    PAID = "paid"
    FREE = "free"
    DECLINED = "declined"
    SHORT = "out of stock"
    CANCELLED = "cancelled"


SHARES = {Kind.PAID: 75, Kind.FREE: 5, Kind.DECLINED: 8, Kind.SHORT: 6, Kind.CANCELLED: 6}
CONFIRMED = ("CONFIRMED", None)
ENDS: dict[Kind, frozenset[tuple[str, str | None]]] = {
    Kind.PAID: frozenset({CONFIRMED}),
    Kind.FREE: frozenset({CONFIRMED}),
    Kind.DECLINED: frozenset({("ROLLED_BACK", "PaymentDeclined")}),
    Kind.SHORT: frozenset({("ROLLED_BACK", "OutOfStock")}),
    Kind.CANCELLED: frozenset({CONFIRMED, ("ROLLED_BACK", "OrderCancelled")}),
}
"""The status and refusal with which each kind may end; any other end is the fault of a server."""


class Order(NamedTuple):
    kind: Kind
    customer: str
    skus: tuple[str, ...]


def orders(seed: int) -> Iterator[Order]:
    """Yield the orders of a seed without end."""
    dice = random.Random(seed)
    while True:
        [kind] = dice.choices(list(SHARES), list(SHARES.values()))
        customer = CUSTOMERS[0] if dice.random() < POPULAR else dice.choice(CUSTOMERS[1:])
        if kind is Kind.DECLINED:
            customer = dice.choice(DECLINED_CUSTOMERS)
        skus = ("FREE",) if kind is Kind.FREE else tuple(dice.sample(SKUS[1:], dice.randint(1, 2)))
        if kind is not Kind.FREE and dice.random() < POPULAR:
            skus = (SKUS[0], *skus)
        yield Order(kind, customer, (*skus, "GONE") if kind is Kind.SHORT else skus)


class Load:
    """Places orders and cancels some of them; ``errors`` counts failed attempts."""

    def __init__(self, rate: float, seed: int) -> None:
        from django.db import connection

        self._connection = connection
        self._orders, self._rate, self._seed = orders(seed), rate, seed
        self._cancels: list[tuple[float, int, Any]] = []
        self._dice = random.Random(seed)
        self.stopped = False
        self.errors = 0

    def run(self) -> None:
        """Place orders until ``stopped``."""
        began = time.monotonic()
        for number in itertools.count():
            while not self.stopped and (wait := began + number / self._rate - time.monotonic()) > 0:
                time.sleep(min(wait, 0.05))
                self._cancel_due()
            if self.stopped:
                return
            self._place(number, next(self._orders))

    def _place(self, number: int, order: Order) -> None:
        from webapp.orders.pricing import Item, NewOrder
        from webapp.orders.services import place_orders

        new = NewOrder(order.customer, [Item(sku, 1) for sku in order.skus], f"load-{self._seed}-{number}")
        placed = self._retry_on_error(lambda: place_orders([new])[0])
        if placed is None:
            return
        line = {"saga": str(placed.saga_id), "kind": order.kind, "at": time.time()}
        sys.stdout.write(f"{json.dumps(line)}\n")
        sys.stdout.flush()
        if order.kind is Kind.CANCELLED:
            heapq.heappush(
                self._cancels, (time.monotonic() + self._dice.uniform(0, CANCELLED_WITHIN), number, placed)
            )

    def _cancel_due(self) -> None:
        from webapp.orders.services import send_cancel_request

        while self._cancels and self._cancels[0][0] <= time.monotonic():
            _, _, placed = heapq.heappop(self._cancels)
            self._retry_on_error(partial(send_cancel_request, placed, "the customer"))

    def _retry_on_error(self, act: Callable[[], Any]) -> Any:
        """Retry until it succeeds or the run ends."""
        from django.db import DatabaseError, InterfaceError

        while not self.stopped:
            try:
                return act()
            except (DatabaseError, InterfaceError) as error:
                self.errors += 1
                sys.stderr.write(f"not placed: {type(error).__name__}: {error}\n")
                self._connection.close()
                time.sleep(PAUSE)
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    wanted = parser.parse_args()
    from workers.django_setup import setup

    setup()
    load = Load(wanted.rate, wanted.seed)

    def stop(*_: object) -> None:
        load.stopped = True

    signal.signal(signal.SIGTERM, stop)
    load.run()
    sys.stderr.write(f"failed attempts: {load.errors}\n")


if __name__ == "__main__":
    main()
