"""Messages are delivered more than once, late, and in any order."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from ordersaga.testing import QueuedEnvelope, Rehearsal
from tests.support.in_process import InProcessSagas, deliver_all, to
from tests.support.installation import Installation
from tests.support.order_factory import ASLEEP, OrderFactory
from tests.support.polling import eventually


def test_every_message_delivered_three_times_counts_once(installation: Installation) -> None:
    with installation.amqp.duplicating(2):
        paid = installation.factory.place_many(5, "TEA", "MUG")
        declined = installation.factory.place_many(3, "TEA", customer="poor")
        lacking = installation.factory.place_many(3, "GONE")
        cancelled = installation.factory.place("TEA")
        installation.factory.cancel(cancelled)

        installation.probe.wait_until_confirmed(paid)
        installation.probe.wait_until_rolled_back([*declined, *lacking])
        installation.probe.wait_until_ended([cancelled])
        installation.probe.wait_until_clean()

    assert all(installation.probe.ledger(saga) == [("charge", -1650)] for saga in paid)
    assert all(installation.probe.reservations(saga) == {"TEA": "shipped", "MUG": "shipped"} for saga in paid)
    assert all(
        Counter(installation.probe.audit_trail(saga))["payments: PaymentCharged"] == 1 for saga in paid
    )


def test_an_undo_before_its_step_bars_the_step(installation: Installation) -> None:
    with installation.without("inventory"):
        saga = OrderFactory(installation.databases, watchdog=ASLEEP).place("TEA")
        order_placed = eventually(lambda: installation.amqp.take("inventory"), 30, "OrderPlaced")
        installation.factory.cancel(saga)
        installation.probe.wait_for_status(saga, "ROLLING_BACK")
    installation.probe.wait_until_rolled_back([saga])
    assert installation.probe.journal(saga)["inventory.reserve_stock"] == "barred"

    installation.amqp.deliver(order_placed, "inventory")

    eventually(
        lambda: installation.probe.audit_trail(saga).count("inventory: answer") == 2,
        30,
        "the late step answered",
    )
    assert installation.probe.journal(saga)["inventory.reserve_stock"] == "barred"
    assert installation.probe.reservations(saga) == {}


class EveryOrder:
    """Runs a saga repeatedly until every order of delivery has been tried, depth first.

    Only those orders are tried that begin with choice ``first`` at the first choice among ``of`` envelopes.
    """

    def __init__(self, first: int, of: int) -> None:
        self._path: list[tuple[int, int]] = [(first, of)]
        self.runs = 0

    def __iter__(self) -> Iterator[int]:
        while True:
            self._at = 0
            yield self.runs
            self.runs += 1
            while len(self._path) > 1 and self._path[-1][0] + 1 == self._path[-1][1]:
                self._path.pop()
            if len(self._path) == 1:
                return
            choice, of = self._path[-1]
            self._path[-1] = (choice + 1, of)

    def choose(self, of: int) -> int:
        """Return the next choice of this run among ``count`` envelopes."""
        if of == 1:
            return 0
        if self._at == len(self._path):
            self._path.append((0, of))
        choice, expected = self._path[self._at]
        assert expected == of, "the run is not the same as the one before it"
        self._at += 1
        return choice


REFUSED = 3
"""The number of envelopes at the first choice: the refusal is on its way to this many participants."""


def under_way(rehearsal: Rehearsal) -> list[QueuedEnvelope]:
    """Return the undelivered envelopes of participants with steps in a fixed order."""
    rehearsal.collect()
    return sorted(
        (queued for queued in rehearsal.queued if queued.to != "audit"),
        key=lambda queued: (queued.to, queued.envelope.topic, queued.envelope.body.count(b'"orders"')),
    )


@pytest.mark.parametrize("first", range(REFUSED))
def test_a_declined_order_ends_well_in_any_delivery_order(in_process: InProcessSagas, first: int) -> None:
    factory, probe = in_process.factory, in_process.probe
    orders = EveryOrder(first, REFUSED)
    sagas = []
    for _ in orders:
        sagas.append(factory.place("TEA", customer="poor"))
        rehearsal = in_process.rehearsal()
        while waiting := under_way(rehearsal):
            rehearsal.deliver(waiting[orders.choose(len(waiting))])
        deliver_all(rehearsal)

    assert orders.runs >= 10
    probe.wait_until_rolled_back(sagas, timeout=0)
    assert all(probe.reservations(saga) == {"TEA": "released"} and probe.ledger(saga) == [] for saga in sagas)


@pytest.mark.parametrize("repeats", [0.0, 0.4])
def test_cancelled_orders_end_well_in_many_delivery_orders(
    in_process: InProcessSagas, repeats: float
) -> None:
    factory, probe = in_process.factory, in_process.probe
    sagas: list[str] = []
    for seed in range(3):
        kinds = [
            factory.place("TEA"),
            factory.place("MUG", customer="poor"),
            factory.place("TEA", "GONE"),
            factory.place("HAT"),
        ]
        factory.cancel(kinds[3])
        in_process.rehearsal(seed=seed, repeats=repeats).run()
        sagas += kinds

    ends = probe.wait_until_ended(sagas, timeout=0)

    assert ends["CONFIRMED"] >= 3
    assert ends["ROLLED_BACK"] >= 6
    probe.wait_until_clean(timeout=0)


EVENTS = "SELECT event_id FROM audit_sagaevent WHERE saga_id = %s"


def deliver_and_keep(rehearsal: Rehearsal) -> list[QueuedEnvelope]:
    """Deliver everything, oldest first; return the envelopes of the participants with steps, for further
    deliveries.
    """
    kept = []
    while rehearsal.collect() or rehearsal.queued or rehearsal.collect():
        kept.append(rehearsal.queued[0])
        rehearsal.deliver(rehearsal.queued[0])
    return [queued for queued in kept if queued.to != "audit"]


def marked_again(queued: QueuedEnvelope) -> QueuedEnvelope:
    """Return the envelope with its signals marked *again*."""
    envelope = json.loads(queued.envelope.body)
    for pack in envelope["packs"]:
        pack["signals"] = [[*row[:5], 1, *row[6:]] for row in pack["signals"]]
    return queued._replace(envelope=queued.envelope._replace(body=json.dumps(envelope).encode()))


@pytest.mark.parametrize("customer", ["ann", "poor"])
def test_a_repeated_message_adds_no_audit_rows(in_process: InProcessSagas, customer: str) -> None:
    saga, rehearsal = in_process.factory.place("TEA", customer=customer), in_process.rehearsal()
    repeats = [marked_again(queued) for queued in deliver_and_keep(rehearsal)]
    events = []
    for _ in range(3):
        events.append(set(in_process.probe.query("orders", EVENTS, saga)))
        for queued in repeats:
            rehearsal.deliver(queued)
        deliver_all(rehearsal)

    assert events[0] < events[1], "the first repeat is emitted again"
    assert events[1] == events[2] == set(in_process.probe.query("orders", EVENTS, saga))
    in_process.probe.wait_until_ended([saga], timeout=0)


def test_each_reminder_adds_its_own_audit_rows(in_process: InProcessSagas) -> None:
    probe, saga, rehearsal = in_process.probe, in_process.factory.place("TEA"), in_process.rehearsal()
    for _ in range(2):
        probe.query(
            "orders", "UPDATE ordersaga_saga SET moved_at = now() - interval '1 day' WHERE id = %s", saga
        )
        rehearsal.make_timers_due("watchdog", saga)
        deliver_all(rehearsal, but=to("inventory"))

    assert Counter(probe.audit_trail(saga)) == {"orders: OrderPlaced": 3, "orders: reminded": 2}
    deliver_all(rehearsal)
    probe.wait_until_confirmed([saga], timeout=0)
