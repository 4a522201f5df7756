"""Events in transit to the audit trail: rows of the outboxes, and messages in the audit's queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator
from contextlib import closing
from typing import NamedTuple

import orjson
import psycopg2

from ordersaga.database import first_line
from ordersaga.errors import ConfigurationError
from ordersaga.sessions import connect
from webapp.ops import broker
from webapp.ops.broker import Management, ManagementError, vhost_of
from webapp.ops.reconcile.codes import Lag
from webapp.ops.reconcile.snapshots import Snapshots

QUEUE_NAME = "audit"
MAX_REPORT_DELAY = 10.0
"""In seconds: a quorum queue reports its length every 5 s, and the management interface shows it up to 5 s
later.
"""

PGMQ_LENGTH = """
SELECT m.queue_length, m.oldest_msg_age_sec FROM ordersaga_broker.queue q, pgmq.metrics(q.table_name) m
WHERE q.name = %s
"""


class QueueUnknown(Exception):
    """The broker does not report how many messages the queue holds."""


class QueueLength(NamedTuple):
    """Messages that wait or are being processed; ``oldest`` is the age of the oldest in seconds, if known."""

    messages: int
    oldest: float | None = None


class AuditQueue(NamedTuple):
    """The audit's queue.

    :ivar length: asks the broker; raises :class:`QueueUnknown`.
    :ivar lag: the greatest age of the answer in seconds.
    """

    length: Callable[[], QueueLength]
    lag: float


def audit_queue(broker_url: str, management: str = "") -> AuditQueue:
    """Return the audit's queue at a broker's address, without connecting.

    :param management: RabbitMQ's management interface, if it is not at the default address.
    :raises ValueError: when ``management`` is not an address.
    """
    if broker_url.startswith("pgmq"):
        return AuditQueue(lambda: _pgmq_length(broker_url), 0.0)
    if not broker_url.startswith(broker.AMQP_SCHEMES):
        return AuditQueue(lambda: _raise_unknown(broker.SUPPORTED), 0.0)
    interface = Management.beside(broker_url, management)
    return AuditQueue(lambda: _rabbitmq_length(interface, vhost_of(broker_url)), MAX_REPORT_DELAY)


def _rabbitmq_length(interface: Management, vhost: str) -> QueueLength:
    try:
        found = interface.get("queues", vhost, QUEUE_NAME)
    except ManagementError as error:
        return _raise_unknown(str(error))
    if found is None or "messages" not in found:
        return _raise_unknown(
            f"RabbitMQ's management reports no queue {QUEUE_NAME} in the virtual host {vhost}"
        )
    return QueueLength(int(found["messages"]))


def _pgmq_length(broker_url: str) -> QueueLength:
    try:
        with (
            closing(connect(broker_url, application_name="reconcile")) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(PGMQ_LENGTH, [QUEUE_NAME])
            found = cursor.fetchone()
    except psycopg2.Error as error:
        return _raise_unknown(first_line(error))
    except ConfigurationError as error:
        return _raise_unknown(str(error))
    return _raise_unknown(f"the broker has no queue {QUEUE_NAME}") if found is None else QueueLength(*found)


def _raise_unknown(why: str) -> QueueLength:
    raise QueueUnknown(why)


# Rows for all participants go to the observers once they are published; rows for one participant never do.
PENDING_ROWS = """
SELECT coalesce(o.payload, p.payload), extract(epoch FROM now() - o.created_at)::float8
FROM ordersaga_outbox o LEFT JOIN ordersaga_pack p ON p.id = o.pack_id AND p.topic = o.topic
WHERE o.recipient IS NULL OR o.recipient = 'all-observers'
"""
FETCH = 100
"""Rows fetched at once; each holds up to some hundred signals."""


class PendingEvents:
    """The events in transit at one moment.

    A row leaves the outbox only when its message is in the queue, and a message leaves the queue only when
    the trail contains its events. Therefore outboxes are read first, the queue next, and the trail last: an
    event that was emitted before is found in one of the three, unless it is lost.

    :ivar read_at: when the outboxes had been read, in monotonic seconds; ``asked_at``: when the queue was
        asked.
    :ivar unknown: why the queue's length is unknown, if it is.
    """

    def __init__(self, snapshots: Snapshots, suspects: Container[str], queue: AuditQueue | None) -> None:
        """Read outboxes and queue.

        :param suspects: the sagas whose events are kept; other rows are only counted.
        :raises Unreadable: when a database cannot be read.
        """
        self._sagas: set[str] = set()
        self._rows, self._oldest = 0, 0.0
        self._length: QueueLength | None = None
        self._lag = 0.0
        self.unknown: str | None = None
        for snapshot in snapshots.snapshots.values():
            for batch in snapshot.facts(PENDING_ROWS, fetch=FETCH):
                for payload, age in batch:
                    self._rows += 1
                    self._oldest = max(self._oldest, age)
                    self._sagas.update(saga for saga in _sagas(payload) if saga in suspects)
        self.read_at = self.asked_at = time.monotonic()
        if queue is not None:
            try:
                self._length, self._lag = queue.length(), queue.lag
            except QueueUnknown as error:
                self.unknown = str(error)

    def to(self, saga: str) -> bool:
        """Return whether events of a saga may be in transit; a queue does not show its sagas."""
        return saga in self._sagas or (self._length is not None and self._length.messages > 0)

    def settles_in(self, since: float) -> float:
        """Return the seconds until the queue's length includes all that had left the outboxes at ``since``.

        It is 0 or less when it does already.
        """
        return since + self._lag - self.asked_at

    def lag(self, orders: int) -> Lag:
        """Return the lag for the report; ``orders`` lack events."""
        queued, oldest = self._length or (None, None)
        ages = (self._oldest if self._rows else None, oldest)
        return Lag(orders, self._rows, queued, max((age for age in ages if age is not None), default=None))


def _sagas(payload: str | None) -> Iterator[str]:
    """Yield the sagas of a pack's signals; none if the pack is missing or unreadable."""
    try:
        yield from (signal[1] for signal in orjson.loads(payload or "{}")["signals"])
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return
