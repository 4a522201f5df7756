"""``pgmq://``: the embedded broker, queues in PostgreSQL with the guarantees of RabbitMQ.

kombu 5.7 ships this transport, but loses or blocks messages in some cases. This package is a subclass that
fixes these faults only: the same declarations as on RabbitMQ work and have the same meaning. The note
*Upstream:* names the fault behind each change, and ``tests/ordersaga/pgmq/test_upstream_faults.py`` fails
when kombu fixes it, so that the change can be removed.

    names.py       table names of queues, regular expressions of topic patterns
    sql/           tables and functions: bindings, dead letters, delivery limits
    schema.py      installs them once
    connection.py  a connection for statements, and one that listens and wakes the consumer
    topology.py    exchanges, queues and bindings, shared by all processes
    channel.py     publish, receive, acknowledge, extend visibility
    transport.py   the transport for kombu

Not supported: message priority, FIFO groups, and TTL of messages and queues. A transient queue ends with its
consumer.
"""

from __future__ import annotations

from ordersaga.celery.pgmq.channel import Channel, extend_visibility
from ordersaga.celery.pgmq.transport import Transport, broker_settings, install

__all__ = ["Channel", "Transport", "broker_settings", "extend_visibility", "install"]
