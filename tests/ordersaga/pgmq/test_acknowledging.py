"""Receiving and acknowledging on ``pgmq://``, including killed consumers."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from kombu import Connection, Consumer, Queue

from ordersaga.celery.pgmq import extend_visibility
from tests.ordersaga.pgmq.helpers import Peer, get, is_empty, publish, size
from tests.ordersaga.pgmq.peer import LIMIT, VISIBILITY, connect
from tests.support.embedded import BrokerDatabase
from tests.support.polling import eventually
from tests.support.time_scale import scaled


def test_an_acknowledged_message_is_deleted(connection: Connection) -> None:
    publish(connection, "", "inventory", 1)
    get(connection, "inventory").ack()
    assert size(connection, "inventory") == 0


def test_the_delivery_count_increases(connection: Connection) -> None:
    publish(connection, "", "inventory", 1)
    for count in range(LIMIT):
        message = get(connection, "inventory")
        assert message.headers["x-delivery-count"] == count
        assert message.delivery_info["redelivered"] is (count > 0)
        message.requeue()


def test_unacknowledged_messages_of_a_killed_consumer_return(connection: Connection, peer: Peer) -> None:
    publish(connection, "", "inventory", 1)
    first = peer("hold", "inventory")
    first.wait_for_log("given 1 for the 1. time")
    first.kill()
    second = peer("settle", "inventory")
    second.wait_for_log("given 1 for the 2. time", VISIBILITY + 5)
    is_empty(connection, "inventory")


def test_a_live_consumer_keeps_its_unacknowledged_messages(connection: Connection, peer: Peer) -> None:
    publish(connection, "", "inventory", 1)
    keeper = peer("keep", "inventory")
    keeper.wait_for_log("given 1 for the 1. time")
    rival = peer("settle", "inventory")
    for n in range(2, 5):  # three visibility timeouts pass by the queue's own clock
        publish(connection, "", "inventory", n, DelaySeconds=VISIBILITY * (n - 1))
    eventually(
        lambda: "given 4" in keeper.logs() + rival.logs(), 4 * VISIBILITY + 5, "the last of the delayed"
    )
    assert "given 1" not in rival.logs()
    assert "2. time" not in keeper.logs() + rival.logs()
    keeper.kill()
    rival.wait_for_log("given 1 for the 2. time", VISIBILITY + 5)


def test_a_message_held_too_long_is_redelivered(broker: BrokerDatabase) -> None:
    with connect(broker.url, visibility=1) as slow, connect(broker.url) as other:
        channel: Any = slow.channel()
        channel.longest = 3 * VISIBILITY
        publish(other, "", "inventory", 1)
        eventually(lambda: channel.basic_get("inventory"), 5, "the message")
        assert extend_visibility(channel) == 1

        eventually(lambda: extend_visibility(channel) == 0, 4 * VISIBILITY, "the end of the extension")
        get(other, "inventory").ack()


def test_a_message_redelivered_elsewhere_cannot_be_acknowledged(broker: BrokerDatabase) -> None:
    with connect(broker.url, visibility=1) as slow, connect(broker.url, visibility=60) as quick:
        publish(slow, "", "inventory", 1)
        lost = get(slow, "inventory")
        mine = get(quick, "inventory")
        assert extend_visibility(lost.channel) == 0
        lost.reject()
        assert extend_visibility(mine.channel) == 1
        assert size(quick, "inventory") == 1
        assert size(quick, "inventory.dead") == 0


def test_a_closing_channel_requeues_its_messages_at_once(connection: Connection) -> None:
    publish(connection, "", "inventory", 1)
    channel = connection.channel()
    assert channel.basic_get("inventory") is not None
    channel.close()
    assert get(connection, "inventory", 0.5).headers["x-delivery-count"] == 1


def test_copies_of_one_message_are_acknowledged_apart(connection: Connection) -> None:
    publish(connection, "ordersaga", "refusal.OutOfStock", 1)
    first, second = get(connection, "inventory"), get(connection, "payments")
    assert first.delivery_tag != second.delivery_tag
    first.ack()
    assert (size(connection, "inventory"), size(connection, "payments")) == (0, 1)


def test_the_prefetch_limit_holds_and_free_slots_fill_at_once(connection: Connection) -> None:
    for n in range(20):
        publish(connection, "", "inventory", n)
    channel = connection.channel()
    channel.basic_qos(0, 2, False)
    in_hand: list[Any] = []
    with Consumer(channel, [Queue("inventory", no_declare=True)], on_message=in_hand.append):
        connection.drain_events(timeout=scaled(5))
        began = time.monotonic()
        for _ in range(18):
            assert len(in_hand) == 2
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.01)
            thread = threading.Timer(0.005, in_hand.pop(0).ack)  # as a thread of a pool does
            thread.start()
            connection.drain_events(timeout=scaled(5))
            thread.join()
        assert time.monotonic() - began < 9  # polling alone would take a second for each of the eighteen
