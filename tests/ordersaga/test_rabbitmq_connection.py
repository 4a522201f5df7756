"""The AMQP connection: every call has a time limit, and a partial frame does not block the event loop."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from struct import pack
from unittest.mock import patch

import pytest
from kombu import Connection

from ordersaga.celery import rabbitmq_transport as transport
from ordersaga.celery.app import configure_broker
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled

HEARTBEAT = pack(">BHI", 8, 0, 0) + b"\xce"


def test_a_broker_that_stops_answering_ends_every_call(
    vhost: str, rabbitmq: RabbitMQ, proxy: Callable[[int], Proxy]
) -> None:
    between = proxy(rabbitmq.port)
    given = configure_broker(between.through(vhost))
    connection = Connection(given["broker_url"], transport_options=given["broker_transport_options"])
    channel = connection.channel()
    between.stall()

    began = time.monotonic()
    with patch.object(transport, "ANSWER_SECONDS", 0.5), patch.object(transport, "CLOSE_SECONDS", 0.5):
        with pytest.raises(TimeoutError):
            channel.queue_declare("q", durable=False)
        connection.release()
    assert time.monotonic() - began < scaled(5)


def test_heartbeats_do_not_lengthen_a_wait(vhost: str) -> None:
    """py-amqp restarts its limit at each frame, so a broker that sends only heartbeats would block a call
    without end.
    """
    connection = Connection(configure_broker(vhost)["broker_url"])
    raw = connection.connection
    reads = iter(range(10**6))

    def beat(_: float | None) -> bool:
        time.sleep(0.01)
        return next(reads) < 0

    reading = patch("amqp.Connection.blocking_read", lambda _, timeout: beat(timeout))
    with reading, raw.within(0.2), pytest.raises(TimeoutError):
        raw.drain_events(timeout=10)
    connection.release()


def test_half_a_frame_is_kept_until_the_rest_comes() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = transport._Socket("localhost:1")
        stream.sock = ours
        stream._setup_transport()
        for part in (HEARTBEAT[:3], HEARTBEAT[3:7]):
            theirs.sendall(part)
            with pytest.raises(TimeoutError), stream.having_timeout(0):
                stream.read_frame()
        theirs.sendall(HEARTBEAT[7:])
        with stream.having_timeout(0):
            assert stream.read_frame() == (8, 0, b"")


def test_a_connection_on_which_a_write_failed_is_not_used_again() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = transport._Socket("localhost:1")
        stream.sock = ours
        stream._setup_transport()
        stream.connected = True
        ours.settimeout(0.1)
        with pytest.raises(TimeoutError):
            stream.write(b"x" * 10**8)
        assert not stream.connected
