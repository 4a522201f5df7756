"""A connection to the broker of the settings, whichever it is."""

from __future__ import annotations

from kombu import Connection

from ordersaga.celery.app import broker
from ordersaga.celery.rabbitmq import why_blocked

AMQP = ("amqp://", "amqps://", "pyamqp://")
CONNECT_SECONDS = 5
KINDS = "Use amqp://… (RabbitMQ) or pgmq://… (PostgreSQL)"


def kind(url: str) -> str:
    """The address without what may be secret."""
    return f"{url.partition('://')[0][:20]}://…"


def blocked(url: str) -> str | None:
    """Why the broker accepts no messages at the moment; None when it does.

    :raises Exception: what connecting raises, and TimeoutError when the broker does not answer.
    """
    with connection(url) as one:
        one.connect()
        return why_blocked(one)


def alarm_words(reason: str) -> str:
    """One sentence about a broker that accepts no messages."""
    return (
        f"The broker accepts no messages because of an alarm: {reason}. `rabbitmq-diagnostics alarms` on its host tells more."
    )


def connection(url: str) -> Connection:
    """Not yet connected; a context manager.

    :raises ConfigurationError: when the address is of no broker that can be used.
    """
    given = broker(url)
    options = given["broker_transport_options"]
    return Connection(given["broker_url"], transport_options=options, connect_timeout=CONNECT_SECONDS)
