"""Publishes an envelope once more instead of holding it while its database is away.

RabbitMQ closes the channel of a consumer that holds a message for longer than ``consumer_timeout`` (30
minutes by default), and most versions count that as a delivery. An envelope that waits for its database is
therefore published again, to the end of its participant's queue, and the first copy is acknowledged: it is
never held for long, and its count starts again.
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
"""How long an envelope is held while its database is away."""


class Held(threading.local):
    """The envelope that this thread works on.

    :ivar until: when it is to be published again, by the monotonic clock.
    :ivar requeued: whether it has been.
    """

    envelope: OutgoingEnvelope | None = None
    until: float = 0.0
    requeued: bool = False


class Requeue:
    """One for all threads of a process; a forked child publishes on a connection of its own."""

    def __init__(
        self,
        publish: Callable[[OutgoingEnvelope], None],
        sleep: Callable[[float], bool],
        hold: timedelta = HOLD,
    ) -> None:
        """:param publish: returns once the broker has confirmed it, else raises; from any thread and in a
        forked child.
        :param sleep: waits so many seconds; False when the process is to stop instead.
        """
        self._publish, self._sleep, self._hold = publish, sleep, hold.total_seconds()
        self._held = Held()

    @contextmanager
    def holding(self, envelope: OutgoingEnvelope) -> Iterator[Held]:
        """Within the block, this thread works on ``envelope``."""
        held = self._held
        held.envelope, held.until, held.requeued = envelope, time.monotonic() + self._hold, False
        try:
            yield held
        finally:
            held.envelope = None

    def sleep(self, seconds: float) -> bool:
        """Wait for the database; False when the envelope was published again, or the process is to stop.

        A process that is to stop publishes its envelope again, too: restarts during an outage are no
        deliveries.
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
        except Exception as error:  # noqa: BLE001 - the envelope is still held, and nothing is lost
            sentence = "The broker did not confirm the held envelope; it is still held."
            logger.warning(LogEvent("envelope_not_requeued", sentence, error=safe_message(error)))
            held.until = time.monotonic() + self._hold
            return False
        held.requeued = True
        sentence = "The envelope is published again, because the database is not available."
        logger.warning(LogEvent("envelope_requeued", sentence, signals=held.envelope.signals))
        return True
