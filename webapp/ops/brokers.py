"""A connection to the broker of the settings, whichever it is."""

from __future__ import annotations

from kombu import Connection

from ordersaga.celery.app import broker

AMQP = ("amqp://", "amqps://", "pyamqp://")
KINDS = "Use amqp://… (RabbitMQ) or pgmq://… (PostgreSQL)"


def kind(url: str) -> str:
    """The address without what may be secret."""
    return f"{url.partition('://')[0][:20]}://…"


def connection(url: str) -> Connection:
    """Not yet connected; a context manager.

    :raises ConfigurationError: when the address is of no broker that can be used.
    """
    given = broker(url)
    return Connection(given["broker_url"], transport_options=given["broker_transport_options"], connect_timeout=5)
