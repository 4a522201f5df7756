"""What has happened at the shop before the first visitor comes: something for every page to show."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.fault_injection import goods
from tests.support.installation import House
from tests.support.order_factory import ASLEEP, Shop
from tests.support.polling import eventually

MANY = 120
"""Confirmed orders; a list's page has 50 rows."""

REST = """
    UPDATE ordersaga_outbox SET due_at = now() + interval '1 hour'
    WHERE kind = 'retry' AND strpos(payload, %s) > 0 RETURNING id
"""
"""What would be tried again three times a second is left alone until somebody resumes its saga."""

TOLD = """
    SELECT count(DISTINCT saga_id) FROM audit_sagaevent
    WHERE name IN ('complete', 'rolled back') AND saga_id = ANY(%s::uuid[])
"""


@dataclass(frozen=True)
class World:
    """Sagas by what became of them, and dead letters by what they are; nobody acts on the last one lost or
    given up.
    """

    confirmed: list[str]
    retried: str
    declined: str
    gone: str
    given_up: list[str]
    stuck: list[str]
    lost: list[str]
    forged: list[int]

    def letter(self, house: House, saga: str) -> int:
        """The dead letter of a saga that has one."""
        [(letter,)] = house.books.ask("orders", "SELECT id FROM audit_deadletter WHERE saga_id = %s", saga)
        return int(letter)


def number(house: House, saga: str) -> int:
    """The number of a saga's order."""
    return int(house.books.ask("orders", "SELECT id FROM orders_order WHERE saga_id = %s", saga)[0][0])


@contextmanager
def held_up(house: House) -> Iterator[str]:
    """While it lasts, inventory reserves nothing: it stands still at an order, the saga of which is given."""
    house.switches.on(goods.PAUSES)
    try:
        saga = patient(house).place(goods.PAUSES)
        eventually(lambda: house.switches.came_by(goods.PAUSES), 30, "inventory at the order")
        yield saga
    finally:
        house.switches.clear()
        house.switches.on(goods.STICKS)


def patient(house: House) -> Shop:
    """A shop of whose sagas nobody is reminded meanwhile."""
    return Shop(house.databases, watchdog=ASLEEP)


def build(house: House) -> World:
    books, shop = house.books, patient(house)
    lost = _lost(house, 4)  # first, while nothing else is under way
    house.switches.on(goods.STICKS)
    stuck = [shop.place(goods.STICKS, customer="poor") for _ in range(2)]
    given_up = [shop.place(goods.FAILS) for _ in range(3)]
    retried, gone = shop.place(goods.FAILS_TWICE), shop.place("GONE", "TEA")
    declined = shop.place("TEA", "MUG", customer="poor")
    confirmed = shop.place_many(MANY, "TEA", "MUG", customer="bob")
    strange = [b"\xff\xfe not an envelope" + os.urandom(8) for _ in range(3)]
    for body in strange:
        house.mail.send("signal.OrderPlaced", body, to="inventory")

    books.all_confirmed([*confirmed, retried])
    books.all_rolled_back([declined, gone, *given_up])
    for saga in stuck:
        eventually(lambda saga=saga: books.saga(saga).attention, 30, "a saga that needs attention")  # type: ignore[misc]
        eventually(lambda saga=saga: books.ask("inventory", REST, saga), 30, "an undo to be tried again")  # type: ignore[misc]
    statement = "SELECT id FROM audit_deadletter WHERE body = ANY(%s) ORDER BY id"
    forged = eventually(
        lambda: [id_ for (id_,) in books.ask("orders", statement, strange)], 30, "dead letters"
    )
    for saga in (*given_up, *lost):
        eventually(lambda saga=saga: books.desk(saga), 30, "a dead letter")  # type: ignore[misc]
    ended = [*confirmed, retried, declined, gone, *given_up]
    eventually(lambda: books.ask("orders", TOLD, ended) == [(len(ended),)], 30, "the audit")
    return World(confirmed, retried, declined, gone, given_up, stuck, lost, forged)


def _lost(house: House, count: int) -> list[str]:
    """Sagas whose first message the broker has given up, each by itself; nothing else will say it again."""
    sagas = []
    with held_up(house):
        for _ in range(count):
            sagas.append(patient(house).place("TEA"))
            eventually(lambda: house.mail.refuse("inventory"), 30, "OrderPlaced")
    return sagas
