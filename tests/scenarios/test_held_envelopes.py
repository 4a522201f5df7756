"""An envelope that a process holds and does not finish returns to its queue, whatever the reason."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.support.fault_injection.goods import PAUSES
from tests.support.installation import House
from tests.support.polling import eventually

SECONDS = 5
CLOSED = ("PRECONDITION_FAILED", "ConsumerCancelled", "consumer cancelled")
"""What a pool logs when the broker has closed its channel, or, from RabbitMQ 4.3 on, has cancelled its
consumer.
"""


@contextmanager
def consumer_timeout(house: House) -> Iterator[None]:
    """Channels that are opened within the block may hold a message for a few seconds only."""
    house.rabbitmq.ctl(
        "eval",
        f"application:set_env(rabbit, consumer_timeout, {SECONDS * 1000}),"
        "application:set_env(rabbit, channel_tick_interval, 500).",
    )
    try:
        yield
    finally:
        house.rabbitmq.ctl(
            "eval",
            "application:set_env(rabbit, consumer_timeout, 1800000),application:set_env(rabbit, channel_tick_interval, 60000).",
        )


def test_an_outage_is_longer_than_the_consumer_timeout(house: House) -> None:
    """Envelopes are published again before the broker would close the channel, more often than the delivery
    limit allows.
    """
    with (
        consumer_timeout(house),
        house.instead("inventory", concurrency=2, env={"ORDERSAGA_HOLD": "1"}) as [inventory],
    ):
        house.proxies["inventory"].refuse()
        sagas = house.shop.place_many(3)
        eventually(lambda: inventory.logs().count("envelope_requeued") >= 14, 60, "more than ten deliveries")
        assert not [text for text in CLOSED if text in inventory.logs()]

        house.proxies["inventory"].accept()
        house.books.all_confirmed(sagas)
    assert [house.books.desk(saga) for saga in sagas] == [[]] * 3


def test_a_pool_lives_when_the_broker_ends_its_consumer(house: House) -> None:
    with (
        consumer_timeout(house),
        house.instead("inventory", concurrency=1, env={"ORDERSAGA_HOLD": "3600"}) as [inventory],
    ):
        house.proxies["inventory"].refuse()
        saga = house.shop.place("TEA")
        eventually(
            lambda: any(text in inventory.logs() for text in CLOSED), 90, "the broker's refusal to wait"
        )

        house.proxies["inventory"].accept()
        house.books.all_confirmed([saga])
        assert inventory.process.alive


def test_a_stopped_child_loses_its_envelope_and_its_locks(house: House) -> None:
    """Its parent lives, so the broker sees nothing; the parent ends the child."""
    with house.instead("inventory", concurrency=2, env={"UNRULY_CHILD_HEARTBEAT": "0.4"}) as [inventory]:
        house.switches.on(PAUSES)
        saga = house.shop.place(PAUSES)
        [child] = eventually(lambda: house.switches.came_by(PAUSES), 30, "the step, held before its commit")
        os.kill(child, signal.SIGSTOP)
        house.switches.off(PAUSES)

        house.books.all_confirmed([saga], timeout=60)

        eventually(lambda: "child_ended" in inventory.logs(), 30, "the parent ends the child")
        eventually(lambda: not psutil.pid_exists(child), 30, "the child's end")
    assert house.books.movements(saga) == [(PAUSES, "held", 1), (PAUSES, "shipped", 1)]
