"""Names, bodies and settings of ``pgmq://``."""

from __future__ import annotations

import os

import pytest
from kombu import Connection, Producer

from ordersaga.celery.pgmq import broker_settings
from ordersaga.celery.pgmq.names import MAX_LENGTH, table_name, topic_regex
from ordersaga.errors import ConfigurationError
from tests.ordersaga.pgmq.helpers import get, publish


def test_long_and_punctuated_names_are_distinct_and_stable() -> None:
    long = "a" * 200
    names = ["a.b", "a_b", "a-b", "A_b", "a_B", long, long + "b"]
    tables = {table_name(name) for name in names}
    assert len(tables) == len(names)
    assert all(len(table) <= MAX_LENGTH for table in tables)
    assert table_name(long) == table_name(long)
    assert table_name("inventory") == "inventory"
    assert topic_regex("plain.key") is None


def test_a_queue_with_a_long_name_carries_messages(connection: Connection) -> None:
    name = "3c9cfc2e-1ef6-3ecb-a9c8-0e6b1b6f2f8b.reply.celery.pidbox.and.more"
    connection.default_channel.queue_declare(name)
    publish(connection, "", name, 1)
    assert get(connection, name).payload == {"n": 1}


def test_a_body_of_five_megabytes_arrives_unchanged(connection: Connection) -> None:
    body = os.urandom(5_000_000)
    headers = {"compression": "application/x-gzip", "trace": "é\\u0000"}
    Producer(connection.default_channel).publish(
        body,
        exchange="",
        routing_key="inventory",
        headers=headers,
        content_type="application/data",
        content_encoding="binary",
    )
    message = get(connection, "inventory")
    assert message.body == body
    assert headers.items() <= message.headers.items()


def test_celery_masks_the_password_of_the_settings() -> None:
    settings = broker_settings(
        "pgmq://me:s%40cret@db.example:6000/broker?sslmode=require", visibility_timeout=60
    )
    assert settings["broker_url"] == "pgmq://me:s%40cret@db.example:6000/broker"
    assert settings["broker_transport_options"]["visibility_timeout"] == 60
    conninfo = settings["broker_transport_options"]["conn_string"]
    assert "sslmode=require" in conninfo
    assert "cret" not in conninfo


@pytest.mark.parametrize("url", ["amqp://guest@localhost//", "pgmq://me@host", "postgresql://me@host/db"])
def test_another_brokers_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="BROKER"):
        broker_settings(url)
