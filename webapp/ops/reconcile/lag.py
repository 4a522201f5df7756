"""What is still owed to the audit trail: rows of the outboxes, and messages in the audit's queue."""

from __future__ import annotations

import time
from collections.abc import Container, Iterator

import orjson

from webapp.ops.reconcile.codes import Lag
from webapp.ops.reconcile.queue import Length, Queue, QueueUnknown
from webapp.ops.reconcile.snapshots import Books

# Rows for participants become due to the observers once they are published; rows for one participant never
# do.
OWED = """
SELECT coalesce(o.payload, p.payload), extract(epoch FROM now() - o.created_at)::float8
FROM ordersaga_outbox o LEFT JOIN ordersaga_pack p ON p.id = o.pack_id AND p.topic = o.topic
WHERE o.recipient IS NULL OR o.recipient = 'all-observers'
"""
FETCH = 100
"""Rows brought at a time: each holds up to some hundred signals."""


class Owed:
    """What is owed at one moment.

    A row is deleted from the outbox only when its message is in the queue, and a message leaves the queue
    only when the trail has it. So outboxes are read first, the queue next, and the trail afterwards: an event
    that was emitted before all of that is found in one of the three places, unless it is lost.

    :ivar read_at: when the outboxes had been read, and ``asked_at`` when the queue was asked; both monotonic
        seconds.
    :ivar unknown: why the queue's length is not known, if it was asked and is not.
    """

    def __init__(self, books: Books, suspects: Container[str], queue: Queue | None) -> None:
        """Read outboxes and queue.

        :param suspects: the sagas of interest; of others only the number of rows is kept.
        :raises Unreadable: when a database cannot be read.
        """
        self._sagas: set[str] = set()
        self._rows, self._oldest = 0, 0.0
        self._length: Length | None = None
        self._lag = 0.0
        self.unknown: str | None = None
        for snapshot in books.snapshots.values():
            for batch in snapshot.facts(OWED, fetch=FETCH):
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
        """Whether the trail of a saga may still become longer. A queue does not say of which sagas its
        messages are.
        """
        return saga in self._sagas or (self._length is not None and self._length.messages > 0)

    def settles_in(self, since: float) -> float:
        """Seconds until the queue's answer tells of all that had left the outboxes at ``since``; 0 or less
        when it does.
        """
        return since + self._lag - self.asked_at

    def lag(self, orders: int) -> Lag:
        """For the report, of so many orders whose trail lacks events."""
        queued, oldest = self._length or (None, None)
        ages = (self._oldest if self._rows else None, oldest)
        return Lag(orders, self._rows, queued, max((age for age in ages if age is not None), default=None))


def _sagas(payload: str | None) -> Iterator[str]:
    """The sagas of a pack's signals; a pack that is missing or cannot be read owes nothing."""
    try:
        yield from (signal[1] for signal in orjson.loads(payload or "{}")["signals"])
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return
