"""Places orders as a contestant does: ``python -m benchmarks.contestants.placing plain --count 2000``.

With ``--rate`` at even intervals, overdue orders at once; otherwise as fast as possible. It prints
``ready.``, begins at a line on standard input, so that several processes begin together, and prints its CPU
seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice

import orjson

from benchmarks.workload import PRICE, Order, Workload

Place = Callable[[Sequence[Order], int], None]
"""Places some orders in one transaction; the number is unique in the process."""


def ordersaga(name: str) -> Place:
    """Place by the web application's service."""
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
    """Commit, then publish; a crash between the two loses the order."""
    from benchmarks.contestants import effects
    from benchmarks.contestants.plain import send

    def place(orders: Sequence[Order], _: int) -> None:
        with effects.transaction("orders") as cursor:
            placed = [(*effects.place(cursor, order.customer, order.lines, PRICE), order) for order in orders]
        for saga, number, amount, order in placed:
            send(saga, number, order.customer, amount, order.lines)

    return place


def careful(_: str) -> Place:
    """Commit the order together with its outbox row."""
    from benchmarks.contestants import effects
    from benchmarks.contestants.careful import enqueue

    def place(orders: Sequence[Order], _: int) -> None:
        with effects.transaction("orders") as cursor:
            for order in orders:
                saga, number, amount = effects.place(cursor, order.customer, order.lines, PRICE)
                task = {
                    "saga": saga,
                    "number": number,
                    "customer": order.customer,
                    "amount": amount,
                    "lines": order.lines,
                }
                enqueue(cursor, "inventory", "inventory.reserve", **task)

    return place


def bare(_: str) -> Place:
    """Commit all orders in one transaction, then publish them in one message."""
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


PLACERS: dict[str, Callable[[str], Place]] = {
    "ordersaga": ordersaga,
    "plain": plain,
    "careful": careful,
    "bare": bare,
}


def run(place: Place, workload: Workload, count: int, at_once: int, rate: float, seed: int) -> None:
    """Place ``count`` orders, ``at_once`` in a transaction, ``rate`` of them a second (0: as fast
    as can be).
    """
    orders = workload.orders(count, seed)
    began = time.monotonic()
    for number, done in enumerate(range(0, count, at_once)):
        if rate and (wait := began + done / rate - time.monotonic()) > 0:
            time.sleep(wait)
        place(list(islice(orders, at_once)), number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("placer", choices=PLACERS)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workload", type=orjson.loads, default={}, help='JSON, such as {"products": 1}')
    arguments = parser.parse_args()
    place = PLACERS[arguments.placer](f"{arguments.seed}-{os.getpid()}")
    print("ready.", flush=True)
    sys.stdin.readline()
    before = time.process_time()
    run(
        place,
        Workload(**arguments.workload),
        arguments.count,
        arguments.at_once,
        arguments.rate,
        arguments.seed,
    )
    print(time.process_time() - before, flush=True)


if __name__ == "__main__":
    main()
