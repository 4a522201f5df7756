"""Servers restart: the pools wait, nothing is dead-lettered, and they still stop on TERM."""

from __future__ import annotations

import pytest

from tests.support.installation import Installation
from tests.support.polling import eventually, throughout

OWNERS = {"orders": "orders", "inventory": "inventory", "payments": "payments", "audit": "orders"}
"""The owner of each pool's database."""


def test_orders_settle_after_a_broker_restart(installation: Installation) -> None:
    before = installation.factory.place_many(20)
    installation.rabbitmq.stop()
    meanwhile = installation.factory.place_many(20)
    installation.rabbitmq.start()
    after = installation.factory.place_many(20)

    installation.probe.wait_until_confirmed([*before, *meanwhile, *after], timeout=120)


@pytest.mark.parametrize(("owner", "seconds"), [("orders", 6), ("inventory", 20), ("payments", 6)])
def test_orders_wait_for_a_database_that_is_down(
    installation: Installation, owner: str, seconds: float
) -> None:
    dead_letter_count = len(installation.probe.dead_letters())
    before = installation.factory.place_many(10)
    installation.proxies[owner].refuse()
    meanwhile = installation.factory.place_many(10)
    throughout(lambda: all(w.process.alive for w in installation.pools.workers), seconds, "all pools run")
    installation.proxies[owner].accept()

    installation.probe.wait_until_confirmed([*before, *meanwhile], timeout=120)

    assert len(installation.probe.dead_letters()) == dead_letter_count


def has_unacknowledged(installation: Installation, name: str) -> bool:
    """Return whether the pool has an unacknowledged message."""
    return (
        installation.rabbitmq.unsettled(installation.vhost)[name] > 0
        and installation.rabbitmq.queues(installation.vhost)[name].ready == 0
    )


@pytest.mark.parametrize("name", OWNERS)
def test_a_pool_stops_on_term_while_its_database_is_down(installation: Installation, name: str) -> None:
    installation.proxies[OWNERS[name]].refuse()
    saga = installation.factory.place("TEA")
    if name in ("inventory", "payments"):
        eventually(lambda: has_unacknowledged(installation, name), 30, "a message in hand")

    installation.pools[name].terminate(timeout=30)

    assert [worker.process.returncode for worker in installation.pools[name]] == [0] * len(
        list(installation.pools[name])
    )
    installation.proxies[OWNERS[name]].accept()
    installation.pools[name].start()
    installation.probe.wait_until_confirmed([saga])
