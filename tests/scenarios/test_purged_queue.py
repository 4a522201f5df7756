"""An operator purges the orders queue while sagas are under way: the watchdog's next messages bring them on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery

from tests.support.house import House
from tests.support.polling import eventually
from tests.support.shop import WATCHDOG
from tests.support.time_scale import scaled

LOST = """
SELECT count(*) FROM ordersaga_outbox WHERE kind = 'watchdog' AND sent IS NOT NULL AND saga_id = ANY(%s::uuid[])
"""


@contextmanager
def not_consuming(house: House) -> Iterator[None]:
    """The orders pool goes on sending, and takes nothing out of its queue."""
    nodes = [worker.hostname() for worker in house.pools["orders"]]
    options = {"destination": nodes, "reply": True, "timeout": scaled(5), "limit": len(nodes)}
    with Celery(broker=house.broker_url) as app:
        app.control.cancel_consumer("orders", **options)
        try:
            yield
        finally:
            app.control.add_consumer("orders", **options)


def test_sagas_resume_soon_after_their_queue_was_purged(house: House) -> None:
    with not_consuming(house):
        sagas = house.shop.place_many(20)
        timeout = 10 * WATCHDOG.first.total_seconds()
        eventually(lambda: house.books.ask("orders", LOST, sagas) == [(20,)], timeout, "the watchdog's messages are sent")
        eventually(lambda: house.rabbitmq.queues(house.vhost)["orders"].ready, 10, "they are in the queue")
        with house.rabbitmq.connect(house.vhost) as connection:
            assert connection.channel().queue_purge("orders") > 0
    began = time.monotonic()
    house.books.all_confirmed(sagas)
    assert time.monotonic() - began < scaled(6 * WATCHDOG.first.total_seconds())
