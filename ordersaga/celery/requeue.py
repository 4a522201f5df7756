"""Publish an envelope again instead of holding it while its database is not available.

RabbitMQ closes the channel of a consumer that holds a message for longer than ``consumer_timeout`` (30
minutes by default), and most versions count that as a delivery. An envelope that waits for its database is
therefore published again to its participant's queue, and the first copy is acknowledged; the count of
deliveries starts again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from ordersaga.claim import OutgoingEnvelope
from ordersaga.log import LogEvent, safe_message

logger = logging.getLogger(__name__)

HOLD = timedelta(seconds=60)
"""How long an envelope is held while its database is not available."""


class HeldEnvelope(threading.local):
    """The envelope that this thread handles.

    :ivar until: when to publish it again, by the monotonic clock.
    :ivar requeued: whether it was published again.
    """

    envelope: OutgoingEnvelope | None = None
    until: float = 0.0
    requeued: bool = False


class Requeue:
    """Publishes held envelopes again. One object serves all threads of a process and its forked children."""

    def __init__(
        self,
        publish: Callable[[OutgoingEnvelope], None],
        sleep: Callable[[float], bool],
        hold: timedelta = HOLD,
    ) -> None:
        """:param publish: returns when the broker has confirmed, or raises; works in threads and children.
        :param sleep: waits the given seconds; returns False if the process must stop instead.
        """
        self._publish, self._sleep, self._hold = publish, sleep, hold.total_seconds()
        self._held = HeldEnvelope()

    @contextmanager
    def holding(self, envelope: OutgoingEnvelope) -> Iterator[HeldEnvelope]:
        """Register ``envelope`` as the one that this thread handles."""
        held = self._held
        held.envelope, held.until, held.requeued = envelope, time.monotonic() + self._hold, False
        try:
            yield held
        finally:
            held.envelope = None

    def wait_or_requeue(self, seconds: float) -> bool:
        """Wait for the database; return False if the caller must give up the envelope.

        That is when the envelope was held for too long and is published again, or when the process must stop.
        A process that stops also publishes its envelope again, so that restarts during an outage do not count
        as deliveries.
        """
        if self._sleep(seconds):
            return not (time.monotonic() >= self._held.until and self._requeue())
        self._requeue()
        return False

    def _requeue(self) -> bool:
        held = self._held
        if held.envelope is None:
            return False
        try:
            self._publish(held.envelope)
        except Exception as error:  # noqa: BLE001 - the envelope is still held
            sentence = "The broker did not confirm the held envelope; it is still held."
            logger.warning(LogEvent("envelope_not_requeued", sentence, error=safe_message(error)))
            held.until = time.monotonic() + self._hold
            return False
        held.requeued = True
        sentence = "The envelope is published again, because the database is not available."
        logger.warning(LogEvent("envelope_requeued", sentence, signals=held.envelope.signals))
        return True
