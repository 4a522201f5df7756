"""What has happened at the factory before the first visitor comes: something for every page to show."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.fault_injection import skus
from tests.support.installation import Installation
from tests.support.order_factory import ASLEEP, OrderFactory
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

    def letter(self, installation: Installation, saga: str) -> int:
        """The dead letter of a saga that has one."""
        [(letter,)] = installation.probe.query(
            "orders", "SELECT id FROM audit_deadletter WHERE saga_id = %s", saga
        )
        return int(letter)


def number(installation: Installation, saga: str) -> int:
    """The number of a saga's order."""
    return int(
        installation.probe.query("orders", "SELECT id FROM orders_order WHERE saga_id = %s", saga)[0][0]
    )


@contextmanager
def held_up(installation: Installation) -> Iterator[str]:
    """While it lasts, inventory reserves nothing: it stands still at an order, the saga of which is given."""
    installation.switches.on(skus.PAUSES)
    try:
        saga = patient(installation).place(skus.PAUSES)
        eventually(lambda: installation.switches.processes_at(skus.PAUSES), 30, "inventory at the order")
        yield saga
    finally:
        installation.switches.clear()
        installation.switches.on(skus.UNDO_FAILS)


def patient(installation: Installation) -> OrderFactory:
    """A factory of whose sagas nobody is reminded meanwhile."""
    return OrderFactory(installation.databases, watchdog=ASLEEP)


def build(installation: Installation) -> World:
    probe, factory = installation.probe, patient(installation)
    lost = _lost(installation, 4)  # first, while nothing else is under way
    installation.switches.on(skus.UNDO_FAILS)
    stuck = [factory.place(skus.UNDO_FAILS, customer="poor") for _ in range(2)]
    given_up = [factory.place(skus.FAILS) for _ in range(3)]
    retried, gone = factory.place(skus.FAILS_TWICE), factory.place("GONE", "TEA")
    declined = factory.place("TEA", "MUG", customer="poor")
    confirmed = factory.place_many(MANY, "TEA", "MUG", customer="bob")
    strange = [b"\xff\xfe not an envelope" + os.urandom(8) for _ in range(3)]
    for body in strange:
        installation.amqp.send("signal.OrderPlaced", body, to="inventory")

    probe.wait_until_confirmed([*confirmed, retried])
    probe.wait_until_rolled_back([declined, gone, *given_up])
    for saga in stuck:
        eventually(lambda saga=saga: probe.saga(saga).attention, 30, "a saga that needs attention")  # type: ignore[misc]
        eventually(lambda saga=saga: probe.query("inventory", REST, saga), 30, "an undo to be tried again")  # type: ignore[misc]
    statement = "SELECT id FROM audit_deadletter WHERE body = ANY(%s) ORDER BY id"
    forged = eventually(
        lambda: [id_ for (id_,) in probe.query("orders", statement, strange)], 30, "dead letters"
    )
    for saga in (*given_up, *lost):
        eventually(lambda saga=saga: probe.dead_letters(saga), 30, "a dead letter")  # type: ignore[misc]
    ended = [*confirmed, retried, declined, gone, *given_up]
    eventually(lambda: probe.query("orders", TOLD, ended) == [(len(ended),)], 30, "the audit")
    return World(confirmed, retried, declined, gone, given_up, stuck, lost, forged)


def _lost(installation: Installation, count: int) -> list[str]:
    """Sagas whose first message the broker has given up, each by itself; nothing else will say it again."""
    sagas = []
    with held_up(installation):
        for _ in range(count):
            sagas.append(patient(installation).place("TEA"))
            eventually(lambda: installation.amqp.reject("inventory"), 30, "OrderPlaced")
    return sagas
