"""``pgmq://``: the queues of the embedded default, in PostgreSQL, mended until they keep RabbitMQ's promises.

kombu 5.7 ships this transport; as shipped it loses or strands messages in ways the engine cannot live with.
Here is the repair, a subclass of kombu's, and nothing else: the same declarations as on RabbitMQ work, and
mean the same. Each departure is signed *Upstream:* with the fault it mends, and
``tests/ordersaga/pgmq/test_upstream_faults.py`` fails once a fault is gone, so that the repair can be thrown
away piece by piece.

    names.py      what a queue's table is called, what a topic pattern means
    sql/          the broker's own tables and functions: who is bound to whom, dead letters, delivery limits
    schema.py     installs them, once
    connection.py       one connection for statements; one that listens, and wakes the consumer
    topology.py   declaring: exchanges, queues, bindings, known to every process
    channel.py    publishing, taking, acknowledging, keeping what is in hand
    transport.py  the connection as kombu knows it

Not honoured: message priority, message and queue TTL (a transient queue itself ends with its consumer), FIFO
groups.
"""

from __future__ import annotations

from ordersaga.celery.pgmq.channel import Channel, extend_visibility
from ordersaga.celery.pgmq.transport import Transport, broker_settings, install

__all__ = ["Channel", "Transport", "broker_settings", "extend_visibility", "install"]
