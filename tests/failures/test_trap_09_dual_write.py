from __future__ import annotations

import psycopg2
import pytest
from django.db import transaction

from ordersaga.relay import Relay
from tests.support.in_process import InProcessSagas
from tests.support.installation import Installation
from tests.support.order_factory import Item
from tests.support.polling import eventually
from webapp.orders.services import place_order

COUNTS = """
SELECT (SELECT count(*) FROM orders_order), (SELECT count(*) FROM ordersaga_saga),
    (SELECT count(*) FROM ordersaga_outbox)
"""


def test_an_order_that_is_rolled_back_emits_nothing(in_process: InProcessSagas) -> None:
    class ChangedMyMind(Exception):
        pass

    def place_in_vain() -> None:
        with transaction.atomic():
            place_order(customer="ann", lines=[Item("TEA", 1)], idempotency_key="in vain")
            raise ChangedMyMind

    def written() -> list[tuple[int, ...]]:
        return in_process.probe.query("orders", COUNTS)

    before = written()
    with pytest.raises(ChangedMyMind):
        place_in_vain()

    assert written() == before


def test_placing_needs_no_broker(installation: Installation) -> None:
    with installation.without("orders"):
        saga = installation.factory.place("TEA")
        [(topic,)] = installation.probe.query(
            "orders", "SELECT topic FROM ordersaga_outbox WHERE kind = 'said'"
        )
        assert topic == "signal.OrderPlaced"
        assert installation.amqp.take("inventory") is None

    installation.probe.wait_until_confirmed([saga])


def test_a_relay_crash_after_the_confirm_publishes_twice_harmlessly(
    in_process: InProcessSagas,
) -> None:
    saga = in_process.factory.place("TEA")
    rehearsal = in_process.rehearsal()
    published = []

    def publish_and_die(envelopes: object) -> None:
        published.append(envelopes)
        ending = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'relay orders'"
        )
        in_process.probe.query("orders", ending)

    relay = Relay(in_process.probe.databases.orders, "orders", publish_and_die)
    with pytest.raises(psycopg2.OperationalError):
        relay.drain()
    assert len(published) == 1
    assert in_process.probe.query("orders", "SELECT count(*) FROM ordersaga_outbox WHERE kind = 'said'") == [
        (1,)
    ]

    rehearsal.collect()
    twice = rehearsal.queued[0]
    rehearsal.deliver(twice)
    rehearsal.deliver(twice)
    rehearsal.run()

    eventually(lambda: in_process.probe.saga(saga).ended, 0.1)
    assert in_process.probe.movements(saga) == [("TEA", "held", 1), ("TEA", "shipped", 1)]
    in_process.probe.wait_until_clean(timeout=0)
