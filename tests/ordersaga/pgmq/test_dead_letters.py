"""Dead letters and transient queues on ``pgmq://``."""

from __future__ import annotations

from kombu import Connection, Consumer, Exchange, Queue

from ordersaga.celery.pgmq.names import table_name
from tests.ordersaga.pgmq.helpers import Peer, get, publish, size
from tests.ordersaga.pgmq.peer import LIMIT
from tests.support.embedded import BrokerDatabase


def test_a_rejected_message_is_dead_lettered(connection: Connection) -> None:
    publish(connection, "ordersaga", "signal.OrderPlaced", 1, headers={"kept": "yes"})
    get(connection, "inventory").reject()
    message = get(connection, "inventory.dead")
    assert message.payload == {"n": 1}
    assert message.headers["kept"] == "yes"
    assert message.headers["x-first-death-queue"] == "inventory"
    assert message.headers["x-first-death-reason"] == "rejected"
    assert message.headers["x-first-death-exchange"] == "ordersaga"
    assert message.headers["x-death"][0]["routing-keys"] == ["signal.OrderPlaced"]
    assert size(connection, "inventory") == 0


def test_a_message_requeued_too_often_is_dead_lettered(connection: Connection) -> None:
    publish(connection, "", "inventory", 1)
    for _ in range(LIMIT + 1):
        get(connection, "inventory").requeue()
    message = get(connection, "inventory.dead")
    assert message.headers["x-first-death-reason"] == "delivery_limit"
    assert size(connection, "inventory") == 0


def test_a_message_that_kills_consumers_is_dead_lettered(
    connection: Connection, broker: BrokerDatabase, peer: Peer
) -> None:
    publish(connection, "", "inventory", 1)
    publish(connection, "", "inventory", 2, DelaySeconds=3600)  # a message without a consumer
    get(connection, "inventory")
    table = f"pgmq.q_{table_name('inventory')}"
    broker.query(f"UPDATE {table} SET read_ct = {LIMIT + 1}, vt = now() WHERE read_ct > 0 RETURNING 1")
    survivor = peer("settle", "inventory")
    message = get(connection, "inventory.dead")
    assert message.headers["x-first-death-reason"] == "delivery_limit"
    assert "given" not in survivor.logs()
    assert size(connection, "inventory") == 1


def test_a_dead_letter_without_a_bound_queue_is_kept(connection: Connection) -> None:
    connection.default_channel.queue_delete("inventory.dead")
    publish(connection, "", "inventory", 1)
    get(connection, "inventory").reject()
    assert size(connection, "inventory") == 1


def test_a_rejected_message_without_dead_letter_routing_is_deleted(connection: Connection) -> None:
    publish(connection, "ordersaga", "signal.Unknown", 1)
    get(connection, "ordersaga.unheard").reject()
    assert size(connection, "ordersaga.unheard") == 0


def test_a_transient_queue_is_deleted_with_its_consumer(
    connection: Connection, broker: BrokerDatabase
) -> None:
    events = Queue(
        "events.of.a.monitor", Exchange("celeryev", type="topic"), "#", auto_delete=True, expires=60
    )
    with Connection(connection.as_uri(), transport_options=connection.transport_options) as other:
        with Consumer(other.channel(), [events], callbacks=[lambda *_: None]):
            publish(connection, "celeryev", "worker.online", 1)
            assert broker.query("SELECT 1 FROM ordersaga_broker.queue WHERE transient") == [(1,)]
        assert broker.query("SELECT 1 FROM ordersaga_broker.queue WHERE transient") == []
    publish(connection, "celeryev", "worker.online", 2)


def test_the_queue_of_a_killed_monitor_is_deleted(connection: Connection, broker: BrokerDatabase) -> None:
    channel = connection.channel()
    living = Queue("living", Exchange("celeryev", type="topic"), "#", auto_delete=True)
    with Consumer(channel, [living], callbacks=[lambda *_: None]):
        channel.queue_declare("orphan", auto_delete=True)
        broker.query(
            "UPDATE ordersaga_broker.queue SET declared_at = now() - interval '2 minutes' RETURNING 1"
        )
        connection.channel().queue_declare("newcomer", auto_delete=True)
        names = broker.query("SELECT name FROM ordersaga_broker.queue WHERE transient ORDER BY 1")
        assert names == [("living",), ("newcomer",)]
