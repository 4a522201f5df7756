"""Orders placed as each contestant's shop would: ``python -m benchmarks.contestants.placing plain --count
2000 --at-once 20``.

With ``--rate`` they come at even distances, late ones at once; else as fast as can be. It begins when a line
comes on standard input, so that several can begin together, and says at its end what CPU time it took.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice

import orjson

from benchmarks.workload import PRICE, Order, Trade

Place = Callable[[Sequence[Order], int], None]
"""Places some orders in one transaction; the number tells them from all others of this process."""


def ordersaga(name: str) -> Place:
    """The stage's own way."""
    from workers.django_setup import setup

    setup()
    from webapp.orders.pricing import Item, NewOrder
    from webapp.orders.services import place_orders

    def place(orders: Sequence[Order], number: int) -> None:
        new = [
            NewOrder(
                order.customer, [Item(sku, quantity) for sku, quantity in order.lines], f"{name}-{number}-{n}"
            )
            for n, order in enumerate(orders)
        ]
        place_orders(new)

    return place


def plain(_: str) -> Place:
    """Written, and then sent: what dies between the two is lost."""
    from benchmarks.contestants import effects
    from benchmarks.contestants.plain import send

    def place(orders: Sequence[Order], _: int) -> None:
        with effects.transaction("orders") as cursor:
            placed = [(*effects.place(cursor, order.customer, order.lines, PRICE), order) for order in orders]
        for saga, number, amount, order in placed:
            send(saga, number, order.customer, amount, order.lines)

    return place


def careful(_: str) -> Place:
    """Written together with what is owed to the broker."""
    from benchmarks.contestants import effects
    from benchmarks.contestants.careful import say

    def place(orders: Sequence[Order], _: int) -> None:
        with effects.transaction("orders") as cursor:
            for order in orders:
                saga, number, amount = effects.place(cursor, order.customer, order.lines, PRICE)
                told = {
                    "saga": saga,
                    "number": number,
                    "customer": order.customer,
                    "amount": amount,
                    "lines": order.lines,
                }
                say(cursor, "inventory", "inventory.reserve", **told)

    return place


def bare(_: str) -> Place:
    """Written in one transaction, sent in one message."""
    from benchmarks.contestants import effects
    from benchmarks.contestants.amqp_url import connect
    from benchmarks.contestants.bare import declare, publish

    channel = connect(os.environ["ORDERSAGA_BROKER_URL"], confirm_publish=True).channel()
    declare(channel)

    def place(orders: Sequence[Order], _: int) -> None:
        pack = []
        with effects.transaction("orders") as cursor:
            for order in orders:
                saga, number, amount = effects.place(cursor, order.customer, order.lines, PRICE)
                pack.append(
                    {
                        "saga": saga,
                        "number": number,
                        "customer": order.customer,
                        "amount": amount,
                        "lines": order.lines,
                    }
                )
        publish(channel, "inventory", orjson.dumps(pack))

    return place


SHOPS: dict[str, Callable[[str], Place]] = {
    "ordersaga": ordersaga,
    "plain": plain,
    "careful": careful,
    "bare": bare,
}


def run(place: Place, trade: Trade, count: int, at_once: int, rate: float, seed: int) -> None:
    """Place ``count`` orders, ``at_once`` in a transaction, ``rate`` of them a second (0: as fast
    as can be).
    """
    orders = trade.orders(count, seed)
    began = time.monotonic()
    for number, done in enumerate(range(0, count, at_once)):
        if rate and (wait := began + done / rate - time.monotonic()) > 0:
            time.sleep(wait)
        place(list(islice(orders, at_once)), number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shop", choices=SHOPS)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trade", type=orjson.loads, default={}, help='JSON, such as {"products": 1}')
    asked = parser.parse_args()
    place = SHOPS[asked.shop](f"{asked.seed}-{os.getpid()}")
    print("ready.", flush=True)
    sys.stdin.readline()
    before = time.process_time()
    run(place, Trade(**asked.trade), asked.count, asked.at_once, asked.rate, asked.seed)
    print(time.process_time() - before, flush=True)


if __name__ == "__main__":
    main()
