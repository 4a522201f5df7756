"""Heartbeats of pools without an event loop, on a real broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import amqp
import pytest
from kombu import Connection

from ordersaga.celery import rabbitmq_transport as transport
from ordersaga.celery.amqp_heartbeats import Heartbeats
from tests.support.polling import eventually, throughout
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQ

SILENCE = 4
"""Seconds: twice the heartbeat timeout in this test."""


@pytest.fixture
def proxied(
    rabbitmq: RabbitMQ, vhost: str, proxy: Callable[[int], Proxy]
) -> Iterator[tuple[Proxy, Connection]]:
    between = proxy(rabbitmq.port)
    transport.install()
    with Connection(between.through(vhost), heartbeat=1) as connection:
        connection.connect()
        yield between, connection


def test_a_blocked_loop_keeps_its_connection(proxied: tuple[Proxy, Connection]) -> None:
    between, connection = proxied
    heartbeats = Heartbeats(connection)
    # the loop does not run, as during a long task
    throughout(lambda: between.connections, SILENCE, "the connection")
    heartbeats.check()
    with connection.channel() as channel:
        channel.queue_declare("kept", exclusive=True)
    heartbeats.stop()


def test_the_loop_detects_a_silent_broker(proxied: tuple[Proxy, Connection]) -> None:
    between, connection = proxied
    heartbeats = Heartbeats(connection)
    between.stall()

    def noticed() -> bool:
        try:
            heartbeats.check()
        except amqp.ConnectionForced:
            return True
        return False

    eventually(noticed, SILENCE, "too many heartbeats missed")
    heartbeats.stop()


def test_each_socket_has_keepalives_and_a_user_timeout(proxied: tuple[Proxy, Connection]) -> None:
    _, connection = proxied
    socket = connection.connection.transport.sock
    assert {option: socket.getsockopt(6, option) for option in transport.SOCKET} == transport.SOCKET
