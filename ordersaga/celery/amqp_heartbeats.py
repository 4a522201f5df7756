"""AMQP heartbeats for pools without an event loop (``-P threads``, ``-P solo``), where Celery sends none.

Without them the broker does not notice a lost host, and keeps the messages that its workers held.
"""

from __future__ import annotations

import threading
import time
from typing import Any

HEARTBEAT = 20.0
"""Seconds between heartbeats, unless the broker's URL sets them. A peer is lost after twice the time."""
FRAME = bytes([8, 0, 0, 0, 0, 0, 0, 0xCE])
"""An AMQP frame of type 8, on channel 0, of no length."""


class Heartbeats:
    """The heartbeats of one connection.

    :meth:`check` sends them in each round, and a thread sends them while a task runs. The thread writes only
    then, so that it never uses a TLS connection at the same time as the loop.
    """

    def __init__(self, connection: Any) -> None:
        """:param connection: an open connection of kombu."""
        self._connection, self._raw = connection, connection.connection
        self._interval = (
            float(connection.get_heartbeat_interval() or 0) if connection.supports_heartbeats else 0.0
        )
        self._checked_at = time.monotonic()
        self._stop = threading.Event()
        if self._interval:
            threading.Thread(target=self._while_busy, name="heartbeats", daemon=True).start()

    def check(self) -> None:
        """Send a heartbeat if one is due.

        :raises amqp.ConnectionForced: when the broker sent nothing for twice the interval.
        """
        if not self._interval:
            return
        now = time.monotonic()
        if now - self._checked_at > self._interval / 2:  # pending data has not been read yet
            self._raw.last_heartbeat_received = now
        self._checked_at = now
        self._connection.heartbeat_check()

    def stop(self) -> None:
        self._stop.set()

    def _while_busy(self) -> None:
        while not self._stop.wait(self._interval / 2):
            transport = self._raw.transport
            if transport is None or not transport.connected:
                return
            if time.monotonic() - self._checked_at > self._interval / 2:
                try:
                    transport.write(FRAME)
                except OSError:  # the loop notices it, too
                    return
