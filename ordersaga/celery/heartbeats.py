"""AMQP heartbeats of pools without an event loop (``-P threads``, ``-P solo``), which Celery leaves out.

Without them the broker never notices that a host is gone whose connection was not closed, and keeps what its
workers held.
"""

from __future__ import annotations

import threading
import time
from typing import Any

HEARTBEAT = 20.0
"""Seconds between heartbeats, unless the broker's URL says otherwise. After twice as many either side counts
as gone.
"""
FRAME = bytes([8, 0, 0, 0, 0, 0, 0, 0xCE])
"""An AMQP frame of type 8, on channel 0, of no length."""


class Heartbeats:
    """The heartbeats of one connection: :meth:`turn` at each turn of the loop, and a thread while a task
    keeps it from turning.

    The thread writes only then, so that it never meets the loop's reading on one TLS connection.
    """

    def __init__(self, connection: Any) -> None:
        """:param connection: kombu's, connected."""
        self._connection, self._raw = connection, connection.connection
        self._interval = (
            float(connection.get_heartbeat_interval() or 0) if connection.supports_heartbeats else 0.0
        )
        self._turned = time.monotonic()
        self._stop = threading.Event()
        if self._interval:
            threading.Thread(target=self._while_busy, name="heartbeats", daemon=True).start()

    def turn(self) -> None:
        """Send a heartbeat when one is due.

        :raises amqp.ConnectionForced: when nothing came from the broker for twice the interval.
        """
        if not self._interval:
            return
        now = time.monotonic()
        if now - self._turned > self._interval / 2:  # what came meanwhile has not been read yet
            self._raw.last_heartbeat_received = now
        self._turned = now
        self._connection.heartbeat_check()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()

    def _while_busy(self) -> None:
        while not self._stop.wait(self._interval / 2):
            transport = self._raw.transport
            if transport is None or not transport.connected:
                return
            if time.monotonic() - self._turned > self._interval / 2:
                try:
                    transport.write(FRAME)
                except OSError:  # the loop finds out by itself
                    return
