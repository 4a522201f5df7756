"""Creates the data that the pages show: sagas of every outcome, and dead letters."""

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
"""The number of confirmed orders; a page of a list has 50 rows."""

DEFER_RETRY = """
    UPDATE ordersaga_outbox SET due_at = now() + interval '1 hour'
    WHERE kind = 'retry' AND strpos(payload, %s) > 0 RETURNING id
"""
"""Defers a retry that would run three times a second, until a test resumes the saga."""

AUDITED = """
    SELECT count(DISTINCT saga_id) FROM audit_sagaevent
    WHERE name IN ('complete', 'rolled back') AND saga_id = ANY(%s::uuid[])
"""


@dataclass(frozen=True)
class Dataset:
    """Sagas by outcome, and dead letters by kind. Tests leave the last saga of ``lost`` and ``given_up`` as
    it is.
    """

    confirmed: list[str]
    retried: str
    declined: str
    gone: str
    given_up: list[str]
    stuck: list[str]
    lost: list[str]
    forged: list[int]

    def dead_letter_id(self, installation: Installation, saga: str) -> int:
        [(dead_letter,)] = installation.probe.query(
            "orders", "SELECT id FROM audit_deadletter WHERE saga_id = %s", saga
        )
        return int(dead_letter)


def order_number(installation: Installation, saga: str) -> int:
    return int(
        installation.probe.query("orders", "SELECT id FROM orders_order WHERE saga_id = %s", saga)[0][0]
    )


@contextmanager
def inventory_held(installation: Installation) -> Iterator[str]:
    """Hold inventory at an order, so that it reserves nothing; yield the order's saga."""
    installation.switches.on(skus.PAUSES)
    try:
        saga = factory_without_reminders(installation).place(skus.PAUSES)
        eventually(lambda: installation.switches.processes_at(skus.PAUSES), 30, "inventory at the order")
        yield saga
    finally:
        installation.switches.clear()
        installation.switches.on(skus.UNDO_FAILS)


def factory_without_reminders(installation: Installation) -> OrderFactory:
    return OrderFactory(installation.databases, watchdog=ASLEEP)


def build(installation: Installation) -> Dataset:
    probe, factory = installation.probe, factory_without_reminders(installation)
    lost = _lost(installation, 4)  # first, while no other message is in the queue
    installation.switches.on(skus.UNDO_FAILS)
    stuck = [factory.place(skus.UNDO_FAILS, customer="poor") for _ in range(2)]
    given_up = [factory.place(skus.FAILS) for _ in range(3)]
    retried, gone = factory.place(skus.FAILS_TWICE), factory.place("GONE", "TEA")
    declined = factory.place("TEA", "MUG", customer="poor")
    confirmed = factory.place_many(MANY, "TEA", "MUG", customer="bob")
    foreign = [b"\xff\xfe not an envelope" + os.urandom(8) for _ in range(3)]
    for body in foreign:
        installation.amqp.send("signal.OrderPlaced", body, to="inventory")

    probe.wait_until_confirmed([*confirmed, retried])
    probe.wait_until_rolled_back([declined, gone, *given_up])
    for saga in stuck:
        eventually(lambda saga=saga: probe.saga(saga).attention, 30, "a saga that needs attention")  # type: ignore[misc]
        eventually(lambda saga=saga: probe.query("inventory", DEFER_RETRY, saga), 30, "the retry of an undo")  # type: ignore[misc]
    statement = "SELECT id FROM audit_deadletter WHERE body = ANY(%s) ORDER BY id"
    forged = eventually(
        lambda: [id_ for (id_,) in probe.query("orders", statement, foreign)], 30, "dead letters"
    )
    for saga in (*given_up, *lost):
        eventually(lambda saga=saga: probe.dead_letters(saga), 30, "a dead letter")  # type: ignore[misc]
    ended = [*confirmed, retried, declined, gone, *given_up]
    eventually(lambda: probe.query("orders", AUDITED, ended) == [(len(ended),)], 30, "the audit")
    return Dataset(confirmed, retried, declined, gone, given_up, stuck, lost, forged)


def _lost(installation: Installation, count: int) -> list[str]:
    """Create sagas whose first message the broker has dead-lettered; no reminder re-sends it."""
    sagas = []
    with inventory_held(installation):
        for _ in range(count):
            sagas.append(factory_without_reminders(installation).place("TEA"))
            eventually(lambda: installation.amqp.reject("inventory"), 30, "OrderPlaced")
    return sagas
