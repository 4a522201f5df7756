"""Servers go and come back: the pools wait, nothing is dead-lettered, and they still stop when told to."""

from __future__ import annotations

import pytest

from tests.support.installation import House
from tests.support.polling import eventually, throughout

OWNERS = {"orders": "orders", "inventory": "inventory", "payments": "payments", "audit": "orders"}
"""Whose database each pool works on."""


def test_the_broker_is_stopped_and_started(house: House) -> None:
    before = house.shop.place_many(20)
    house.rabbitmq.stop()
    meanwhile = house.shop.place_many(20)
    house.rabbitmq.start()
    after = house.shop.place_many(20)

    house.books.all_confirmed([*before, *meanwhile, *after], timeout=120)


@pytest.mark.parametrize(("owner", "seconds"), [("orders", 6), ("inventory", 20), ("payments", 6)])
def test_a_database_is_away(house: House, owner: str, seconds: float) -> None:
    letters = len(house.books.desk())
    before = house.shop.place_many(10)
    house.proxies[owner].refuse()
    meanwhile = house.shop.place_many(10)
    throughout(lambda: all(w.process.alive for w in house.pools.workers), seconds, "all pools run")
    house.proxies[owner].accept()

    house.books.all_confirmed([*before, *meanwhile], timeout=120)

    assert len(house.books.desk()) == letters


def in_hand(house: House, name: str) -> bool:
    """Whether the pool has a message that is neither waiting nor acknowledged."""
    return (
        house.rabbitmq.unsettled(house.vhost)[name] > 0
        and house.rabbitmq.queues(house.vhost)[name].ready == 0
    )


@pytest.mark.parametrize("name", OWNERS)
def test_a_pool_stops_when_told_while_its_database_is_away(house: House, name: str) -> None:
    house.proxies[OWNERS[name]].refuse()
    saga = house.shop.place("TEA")
    if name in ("inventory", "payments"):
        eventually(lambda: in_hand(house, name), 30, "a message in hand")

    house.pools[name].terminate(timeout=30)

    assert [worker.process.returncode for worker in house.pools[name]] == [0] * len(list(house.pools[name]))
    house.proxies[OWNERS[name]].accept()
    house.pools[name].start()
    house.books.all_confirmed([saga])
