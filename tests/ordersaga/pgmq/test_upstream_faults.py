"""Faults of kombu's own ``pgmq://`` that ``ordersaga/celery/pgmq`` repairs.

A test that fails here means that kombu or pgmq has fixed the fault; the repair with that *Upstream:* note can
be removed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from kombu import Connection, Exchange, Producer, Queue
from pgmq.base import PGMQConfig
from pgmq.install import PGMQInstallError, install_pgmq_from_sql

from tests.support.embedded import BrokerDatabase
from tests.support.time_scale import scaled

Open = Callable[..., Connection]


@pytest.fixture
def upstream(broker: BrokerDatabase) -> Iterator[Open]:
    """Opens a connection by kombu's own transport, in a database that already has PGMQ's SQL."""
    install_pgmq_from_sql(dsn=broker.conninfo)
    opened: list[Connection] = []

    def connect(**options: Any) -> Connection:
        options = {"conn_string": broker.conninfo, "init_extension": False, "wait_time_seconds": 0, **options}
        connection = Connection(transport="kombu.transport.pgmq:Transport", transport_options=options)
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.release()


def declared(connection: Connection, queue: Queue) -> Any:
    channel = connection.default_channel
    queue(channel).declare()
    return channel


def publish(connection: Connection, exchange: str, key: str, **options: Any) -> None:
    Producer(connection.default_channel, auto_declare=False).publish(
        {}, exchange=exchange, routing_key=key, **options
    )


def test_upstream_headers_without_a_delay_break_topics(upstream: Open) -> None:
    connection = upstream()
    declared(connection, Queue("q", Exchange("t", type="topic"), "a.#"))
    with pytest.raises(psycopg.errors.UndefinedFunction):
        publish(connection, "t", "a.b", headers={"a": 1})


def test_long_names_are_refused(upstream: Open) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="too long"):
        declared(upstream(), Queue("3c9cfc2e-1ef6-3ecb-a9c8-0e6b1b6f2f8b.reply.celery.pidbox"))


def test_names_that_differ_in_punctuation_share_a_queue(upstream: Open) -> None:
    connection = upstream()
    channel = declared(connection, Queue("a.b"))
    declared(connection, Queue("a_b"))
    publish(connection, "", "a.b")
    assert channel.basic_get("a_b") is not None


def test_a_direct_exchange_is_unknown_to_another_connection(upstream: Open) -> None:
    channel = declared(upstream(), Queue("q", Exchange("d", type="direct"), "key"))
    publish(upstream(), "d", "key")
    assert channel.basic_get("q") is None


def test_the_wheels_sql_cannot_run_twice(upstream: Open, broker: BrokerDatabase) -> None:
    with pytest.raises(PGMQInstallError, match="already exists"):
        install_pgmq_from_sql(dsn=broker.conninfo)


def test_the_extension_is_required_by_default(upstream: Open) -> None:
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        upstream(init_extension=True).connect()


def test_the_socket_folder_of_a_url_is_dropped() -> None:
    assert PGMQConfig(conn_string="postgresql://me@/broker?host=/run/sockets").host == "localhost"


def test_the_environments_database_url_overrides_the_brokers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://other:x@elsewhere/other")
    options = {"init_extension": False}
    connection = Connection(
        "pgmq://me:x@here/mine", transport="kombu.transport.pgmq:Transport", transport_options=options
    )
    client = connection.transport._create_pgmq_client()
    client.close()
    assert (client.config.host, client.config.database) == ("elsewhere", "other")


def test_messages_of_a_closed_channel_stay_invisible_for_30_minutes(upstream: Open) -> None:
    connection = upstream()
    channel = declared(connection, Queue("q"))
    assert channel.visibility_timeout == 1800
    publish(connection, "", "q")
    taken = connection.channel()
    assert taken.basic_get("q") is not None
    taken.close()
    assert channel.basic_get("q") is None


def test_rejected_messages_are_deleted(upstream: Open) -> None:
    connection = upstream()
    declared(connection, Queue("dead", Exchange("x", type="fanout")))
    arguments = {"x-dead-letter-exchange": "x", "x-delivery-limit": 1}
    channel = declared(connection, Queue("q", queue_arguments=arguments))
    publish(connection, "", "q")
    channel.basic_get("q").reject()
    assert channel.basic_get("dead") is None


def test_the_delivery_limit_and_the_delivery_count_are_ignored(upstream: Open) -> None:
    connection = upstream()
    channel = declared(connection, Queue("q", queue_arguments={"x-delivery-limit": 1}))
    publish(connection, "", "q")
    for _ in range(5):
        message = channel.basic_get("q")
        assert "x-delivery-count" not in message.headers
        message.requeue()


def test_the_alternate_exchange_receives_nothing(upstream: Open) -> None:
    connection = upstream()
    channel = declared(connection, Queue("unheard", Exchange("alternate", type="fanout")))
    Exchange("t", type="topic", arguments={"alternate-exchange": "alternate"})(channel).declare()
    publish(connection, "t", "nobody", DelaySeconds=0)
    assert channel.basic_get("unheard") is None


def test_a_hash_does_not_match_zero_words(upstream: Open) -> None:
    connection = upstream()
    channel = declared(connection, Queue("q", Exchange("t", type="topic"), "refusal.#"))
    publish(connection, "t", "refusal")
    assert channel.basic_get("q") is None


def test_copies_of_one_message_share_their_delivery_tag(upstream: Open) -> None:
    connection = upstream()
    fanout = Exchange("f", type="fanout")
    channel = declared(connection, Queue("a", fanout))
    declared(connection, Queue("b", fanout))
    publish(connection, "f", "")
    assert channel.basic_get("a").delivery_tag == channel.basic_get("b").delivery_tag


def test_a_transient_queue_outlives_its_consumer(upstream: Open, broker: BrokerDatabase) -> None:
    connection = upstream()
    channel = declared(connection, Queue("events", Exchange("f", type="fanout"), auto_delete=True, expires=1))
    channel.basic_consume("events", True, lambda _: None, "tag")
    channel.basic_cancel("tag")
    connection.release()
    assert broker.query("SELECT queue_name FROM pgmq.meta") == [("events",)]


def test_a_message_soon_after_another_sends_no_notify(upstream: Open, broker: BrokerDatabase) -> None:
    connection = upstream(use_notify=True)
    declared(connection, Queue("q"))
    with psycopg.connect(broker.conninfo, autocommit=True) as listener:
        listener.execute('LISTEN "pgmq.q_q.INSERT"')
        for _ in range(5):
            publish(connection, "", "q")
        assert len(list(listener.notifies(timeout=1))) < 5


def test_a_free_slot_triggers_no_fetch(upstream: Open) -> None:
    connection = upstream(use_notify=True, polling_interval=1)
    channel = declared(connection, Queue("q"))
    for _ in range(2):
        publish(connection, "", "q", DelaySeconds=0)
    channel.basic_qos(0, 1, False)
    given: list[Any] = []
    channel.basic_consume("q", False, given.append, "tag")
    connection.drain_events(timeout=scaled(5))
    began = time.monotonic()
    threading.Timer(0.1, given[0].ack).start()
    while len(given) < 2:
        connection.drain_events(timeout=scaled(5))
    assert time.monotonic() - began > 0.5
