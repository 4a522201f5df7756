"""An envelope that a process holds without finishing returns to its queue."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.support.fault_injection.skus import PAUSES
from tests.support.installation import Installation
from tests.support.polling import eventually

SECONDS = 5
CLOSED = ("PRECONDITION_FAILED", "ConsumerCancelled", "consumer cancelled")
"""The log lines of a pool whose channel the broker has closed or, from RabbitMQ 4.3, whose consumer it has
cancelled.
"""


@contextmanager
def consumer_timeout(installation: Installation) -> Iterator[None]:
    """Limit how long a channel that opens within the block may hold a message, to a few seconds."""
    installation.rabbitmq.ctl(
        "eval",
        f"application:set_env(rabbit, consumer_timeout, {SECONDS * 1000}),"
        "application:set_env(rabbit, channel_tick_interval, 500).",
    )
    try:
        yield
    finally:
        installation.rabbitmq.ctl(
            "eval",
            "application:set_env(rabbit, consumer_timeout, 1800000),"
            "application:set_env(rabbit, channel_tick_interval, 60000).",
        )


def test_an_outage_longer_than_the_consumer_timeout_loses_nothing(installation: Installation) -> None:
    """Envelopes are republished before the broker would close the channel, more often than the delivery limit
    allows.
    """
    with (
        consumer_timeout(installation),
        installation.instead("inventory", concurrency=2, env={"ORDERSAGA_HOLD": "1"}) as [inventory],
    ):
        installation.proxies["inventory"].refuse()
        sagas = installation.factory.place_many(3)
        eventually(lambda: inventory.logs().count("envelope_requeued") >= 14, 60, "more than ten deliveries")
        assert not [text for text in CLOSED if text in inventory.logs()]

        installation.proxies["inventory"].accept()
        installation.probe.wait_until_confirmed(sagas)
    assert [installation.probe.dead_letters(saga) for saga in sagas] == [[]] * 3


def test_a_pool_survives_a_cancelled_consumer(installation: Installation) -> None:
    with (
        consumer_timeout(installation),
        installation.instead("inventory", concurrency=1, env={"ORDERSAGA_HOLD": "3600"}) as [inventory],
    ):
        installation.proxies["inventory"].refuse()
        saga = installation.factory.place("TEA")
        eventually(
            lambda: any(text in inventory.logs() for text in CLOSED), 90, "the broker's refusal to wait"
        )

        installation.proxies["inventory"].accept()
        installation.probe.wait_until_confirmed([saga])
        assert inventory.process.alive


def test_a_stopped_child_loses_its_envelope_and_its_locks(installation: Installation) -> None:
    """Its parent lives, so the broker does not notice; the parent kills the child."""
    with installation.instead("inventory", concurrency=2, env={"TEST_CHILD_HEARTBEAT": "0.4"}) as [inventory]:
        installation.switches.on(PAUSES)
        saga = installation.factory.place(PAUSES)
        [child] = eventually(
            lambda: installation.switches.processes_at(PAUSES), 30, "the step, held before its commit"
        )
        os.kill(child, signal.SIGSTOP)
        installation.switches.off(PAUSES)

        installation.probe.wait_until_confirmed([saga], timeout=60)

        eventually(lambda: "child_killed" in inventory.logs(), 30, "the parent ends the child")
        eventually(lambda: not psutil.pid_exists(child), 30, "the child's end")
    assert installation.probe.movements(saga) == [(PAUSES, "held", 1), (PAUSES, "shipped", 1)]
