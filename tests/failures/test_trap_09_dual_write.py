from __future__ import annotations

import psycopg2
import pytest
from django.db import transaction

from ordersaga.relay import Relay
from tests.support.in_process import Theatre
from tests.support.installation import House
from tests.support.order_factory import Item
from tests.support.polling import eventually
from webapp.orders.services import place_order

COUNTS = """
SELECT (SELECT count(*) FROM orders_order), (SELECT count(*) FROM ordersaga_saga), (SELECT count(*) FROM ordersaga_outbox)
"""


def test_an_order_that_is_rolled_back_says_nothing(theatre: Theatre) -> None:
    class ChangedMyMind(Exception):
        pass

    def place_in_vain() -> None:
        with transaction.atomic():
            place_order(customer="ann", lines=[Item("TEA", 1)], idempotency_key="in vain")
            raise ChangedMyMind

    def written() -> list[tuple[int, ...]]:
        return theatre.books.ask("orders", COUNTS)

    before = written()
    with pytest.raises(ChangedMyMind):
        place_in_vain()

    assert written() == before


def test_placing_needs_no_broker(house: House) -> None:
    with house.without("orders"):
        saga = house.shop.place("TEA")
        [(topic,)] = house.books.ask("orders", "SELECT topic FROM ordersaga_outbox WHERE kind = 'said'")
        assert topic == "signal.OrderPlaced"
        assert house.mail.take("inventory") is None

    house.books.all_confirmed([saga])


def test_a_relay_that_dies_between_the_confirm_and_its_commit_says_it_twice_and_nobody_minds(
    theatre: Theatre,
) -> None:
    saga = theatre.shop.place("TEA")
    rehearsal = theatre.rehearsal()
    published = []

    def publish_and_die(envelopes: object) -> None:
        published.append(envelopes)
        ending = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'relay orders'"
        )
        theatre.books.ask("orders", ending)

    relay = Relay(theatre.books.databases.orders, "orders", publish_and_die)
    with pytest.raises(psycopg2.OperationalError):
        relay.drain()
    assert len(published) == 1
    assert theatre.books.ask("orders", "SELECT count(*) FROM ordersaga_outbox WHERE kind = 'said'") == [(1,)]

    rehearsal.collect()
    twice = rehearsal.mail[0]
    rehearsal.deliver(twice)
    rehearsal.deliver(twice)
    rehearsal.run()

    eventually(lambda: theatre.books.saga(saga).ended, 0.1)
    assert theatre.books.movements(saga) == [("TEA", "held", 1), ("TEA", "shipped", 1)]
    theatre.books.are_clean(timeout=0)
