"""How many messages wait in the audit's queue, on either kind of broker."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

import psycopg2

from ordersaga.database import first_line
from ordersaga.errors import ConfigurationError
from ordersaga.sessions import connect
from webapp.ops import broker
from webapp.ops.broker import Management, ManagementError, vhost_of

NAME = "audit"
REPORTED = 10.0
"""Seconds. A quorum queue reports its length to RabbitMQ's management every 5 s, which may show it another 5
s later.
"""

LENGTH = """
SELECT m.queue_length, m.oldest_msg_age_sec FROM ordersaga_broker.queue q, pgmq.metrics(q.table_name) m WHERE q.name = %s
"""


class QueueUnknown(Exception):
    """The broker does not say how many messages the queue holds."""


class Length(NamedTuple):
    """Messages that wait or are being processed; ``oldest`` is the age of the oldest in seconds, None where
    it is unknown.
    """

    messages: int
    oldest: float | None = None


class Queue(NamedTuple):
    """The audit's queue.

    :ivar length: asks the broker; raises :class:`QueueUnknown`.
    :ivar lag: seconds by which the answer may be old.
    """

    length: Callable[[], Length]
    lag: float


def audit_queue(broker_url: str, management: str = "") -> Queue:
    """The queue at a broker's address; nothing is asked yet.

    :param management: RabbitMQ's management interface, if it is not at the usual place.
    :raises ValueError: when ``management`` is no address.
    """
    if broker_url.startswith("pgmq"):
        return Queue(lambda: _in_postgres(broker_url), 0.0)
    if not broker_url.startswith(broker.AMQP):
        return Queue(lambda: _unknown(broker.KINDS), 0.0)
    interface = Management.beside(broker_url, management)
    return Queue(lambda: _in_rabbitmq(interface, vhost_of(broker_url)), REPORTED)


def _in_rabbitmq(interface: Management, vhost: str) -> Length:
    try:
        found = interface.get("queues", vhost, NAME)
    except ManagementError as error:
        return _unknown(str(error))
    if found is None or "messages" not in found:
        return _unknown(f"RabbitMQ's management reports no queue {NAME} in the virtual host {vhost}")
    return Length(int(found["messages"]))


def _in_postgres(broker_url: str) -> Length:
    try:
        with (
            closing(connect(broker_url, application_name="reconcile")) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(LENGTH, [NAME])
            found = cursor.fetchone()
    except psycopg2.Error as error:
        return _unknown(first_line(error))
    except ConfigurationError as error:
        return _unknown(str(error))
    return _unknown(f"the broker has no queue {NAME}") if found is None else Length(*found)


def _unknown(why: str) -> Length:
    raise QueueUnknown(why)
