"""Exchanges and bindings of ``pgmq://`` behave as on RabbitMQ, between real processes."""

from __future__ import annotations

import threading

import pytest
from kombu import Connection, Exchange, Queue
from kombu.exceptions import ChannelError

from ordersaga.celery.pgmq import broker_settings
from tests.ordersaga.pgmq.helpers import Peer, get, is_empty, publish, size
from tests.ordersaga.pgmq.peer import LIMIT, connect
from tests.support.embedded import BrokerDatabase


def test_a_signal_reaches_all_bound_queues_of_all_processes(connection: Connection, peer: Peer) -> None:
    inventory, payments = peer("settle", "inventory"), peer("settle", "payments")
    publish(connection, "ordersaga", "signal.OrderPlaced", 1)
    publish(connection, "ordersaga", "signal.StockReserved", 2)
    publish(connection, "ordersaga", "refusal.OutOfStock", 3)
    publish(connection, "ordersaga", "to.payments", 4)
    for n in (1, 3):
        inventory.wait_for_log(f"given {n} for the 1. time")
    for n in (2, 3, 4):
        payments.wait_for_log(f"given {n} for the 1. time")
    is_empty(connection, "inventory", "payments", "ordersaga.unheard")
    assert "given 2" not in inventory.logs()
    assert "given 1" not in payments.logs()


@pytest.mark.parametrize(
    ("pattern", "consumes", "ignores"),
    [
        ("refusal.#", ["refusal", "refusal.a", "refusal.a.b"], ["refusals", "a.refusal"]),
        ("*.placed", ["order.placed"], ["placed", "a.order.placed", "orderXplaced"]),
        ("#", ["", "a", "a.b"], []),
        ("a.#.z", ["a.z", "a.b.z", "a.b.c.z"], ["a", "z", "a.zz"]),
        ("a.b", ["a.b"], ["a.b.c", "a.c", "aXb"]),
        ("celery@host-1 x", ["celery@host-1 x"], ["celery@host"]),
    ],
)
def test_binding_patterns_match_as_in_amqp(
    connection: Connection, pattern: str, consumes: list[str], ignores: list[str]
) -> None:
    channel = connection.default_channel
    queue = Queue("listener", Exchange("topics", type="topic"), routing_key=pattern)(channel)
    queue.declare()
    for key in consumes + ignores:
        publish(connection, "topics", key, 1)
    assert size(connection, "listener") == len(consumes)


def test_a_process_that_declared_nothing_knows_a_direct_exchange(broker: BrokerDatabase, peer: Peer) -> None:
    consumer = peer("settle", "payments.dead")
    settings = broker_settings(broker.url)
    with Connection(
        settings["broker_url"], transport_options=settings["broker_transport_options"]
    ) as stranger:
        publish(stranger, "ordersaga.dead", "payments", 7)
        consumer.wait_for_log("given 7 for the 1. time")
        publish(stranger, "", "payments.dead", 8)
        consumer.wait_for_log("given 8 for the 1. time")


def test_a_queue_matched_by_two_patterns_gets_one_copy(connection: Connection) -> None:
    connection.default_channel.queue_bind("inventory", "ordersaga", "signal.#")
    publish(connection, "ordersaga", "signal.OrderPlaced", 1)
    assert size(connection, "inventory") == 1


def test_an_unroutable_message_goes_to_the_alternate_exchange(connection: Connection) -> None:
    publish(connection, "ordersaga", "signal.Unknown", 1)
    message = get(connection, "ordersaga.unheard")
    assert message.payload == {"n": 1}
    assert message.delivery_info["routing_key"] == "signal.Unknown"


def test_an_unroutable_mandatory_message_raises(connection: Connection) -> None:
    publish(connection, "ordersaga.dead", "nobody", 1)
    with pytest.raises(ChannelError, match="NO_ROUTE"):
        publish(connection, "ordersaga.dead", "nobody", 1, mandatory=True)


def test_an_unknown_exchange_and_a_changed_type_raise(connection: Connection) -> None:
    with pytest.raises(ChannelError, match="NOT_FOUND"):
        publish(connection, "nowhere", "x", 1)
    with pytest.raises(ChannelError, match="PRECONDITION_FAILED"):
        connection.default_channel.exchange_declare("ordersaga", "direct")


def test_a_declaration_without_arguments_keeps_the_known_ones(
    connection: Connection, broker: BrokerDatabase
) -> None:
    connection.default_channel.queue_declare("inventory")
    connection.default_channel.exchange_declare("ordersaga", "topic")
    row = broker.query(
        "SELECT delivery_limit, dead_exchange, dead_key FROM ordersaga_broker.queue WHERE name = 'inventory'"
    )
    assert row == [(LIMIT, "ordersaga.dead", "inventory")]
    assert broker.query("SELECT alternate FROM ordersaga_broker.exchange WHERE name = 'ordersaga'") == [
        ("ordersaga.unheard",)
    ]


def test_ten_processes_can_install_and_declare_concurrently(broker: BrokerDatabase) -> None:
    failures: list[BaseException] = []

    def declare() -> None:
        try:
            connect(broker.url).release()
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=declare) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
