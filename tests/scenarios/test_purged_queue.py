"""The watchdog re-sends what a purge has lost, and nothing that only waits in a queue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery

from tests.support.installation import Installation
from tests.support.order_factory import WATCHDOG
from tests.support.polling import eventually
from tests.support.time_scale import scaled

LOST = """
SELECT count(*) FROM ordersaga_outbox
WHERE kind = 'watchdog' AND sent IS NOT NULL AND saga_id = ANY(%s::uuid[])
"""

DUE = """
SELECT count(*) FROM ordersaga_outbox WHERE kind = 'watchdog' AND sent >= 2 AND saga_id = ANY(%s::uuid[])
"""
OWED = "SELECT count(*) FROM ordersaga_outbox WHERE kind = 'said' AND recipient IS NULL AND topic <> 'notice'"

ROUNDS = "SELECT sum(rounds) FROM ordersaga_saga WHERE id = ANY(%s::uuid[])"


@contextmanager
def not_consuming(installation: Installation, pool: str) -> Iterator[None]:
    """Make the pool publish, but not consume its queue."""
    nodes = [worker.hostname() for worker in installation.pools[pool]]
    options = {"destination": nodes, "reply": True, "timeout": scaled(5), "limit": len(nodes)}
    with Celery(broker=installation.broker_url) as app:
        app.control.cancel_consumer(pool, **options)
        try:
            yield
        finally:
            app.control.add_consumer(pool, **options)


def test_sagas_resume_soon_after_their_queue_was_purged(installation: Installation) -> None:
    with not_consuming(installation, "orders"):
        sagas = installation.factory.place_many(20)
        timeout = 10 * WATCHDOG.first.total_seconds()
        eventually(
            lambda: installation.probe.query("orders", LOST, sagas) == [(20,)],
            timeout,
            "the watchdog's messages are sent",
        )
        eventually(
            lambda: installation.rabbitmq.queues(installation.vhost)["orders"].ready,
            10,
            "they are in the queue",
        )
        with installation.rabbitmq.connect(installation.vhost) as connection:
            assert connection.channel().queue_purge("orders") > 0
    began = time.monotonic()
    installation.probe.wait_until_confirmed(sagas)
    assert time.monotonic() - began < scaled(6 * WATCHDOG.first.total_seconds())


def test_no_reminder_while_messages_wait_in_an_idle_queue(installation: Installation) -> None:
    with not_consuming(installation, "inventory"):
        sagas = installation.factory.place_many(20)
        assert_no_reminder(installation, sagas)
    installation.probe.wait_until_confirmed(sagas)


def test_no_reminder_while_a_pools_database_is_down(
    installation: Installation,
) -> None:
    """The pool consumes: it requeues what it has fetched."""
    installation.proxies["inventory"].refuse()
    sagas = []
    for _ in range(50):
        sagas += installation.factory.place_many(1)
        eventually(
            lambda: installation.probe.query("orders", OWED) == [(0,)], 10, "the order has left the outbox"
        )
        if installation.rabbitmq.queues(installation.vhost)["inventory"].ready >= 2:
            break
    assert_no_reminder(installation, sagas)
    installation.proxies["inventory"].accept()
    installation.probe.wait_until_confirmed(sagas)


def assert_no_reminder(installation: Installation, sagas: list[str]) -> None:
    """The watchdog of each saga comes due twice and sends no reminder."""
    eventually(
        lambda: installation.probe.query("orders", OWED) == [(0,)], 10, "the orders have left the outbox"
    )
    eventually(
        lambda: installation.rabbitmq.queues(installation.vhost)["inventory"].ready,
        10,
        "they are in the queue",
    )
    timeout = 20 * WATCHDOG.first.total_seconds()
    eventually(
        lambda: installation.probe.query("orders", DUE, sagas) == [(len(sagas),)],
        timeout,
        "the watchdog comes due twice",
    )
    assert installation.rabbitmq.queues(installation.vhost)["inventory"].ready
    assert installation.probe.query("orders", ROUNDS, sagas) == [(0,)]
