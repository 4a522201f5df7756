"""Send Celery's events, heartbeats and remote-control messages from a separate thread and connection.

While its memory or disk alarm is on, RabbitMQ stops reading from connections that publish. If the consumer
published these messages, it could not consume either. Messages that cannot be sent at once are dropped,
because they are useless later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from celery.events.dispatcher import EventDispatcher
from kombu import Connection, Producer

from ordersaga.log import LogEvent, safe_message
from ordersaga.log_throttle import LogThrottle

logger = logging.getLogger(__name__)

BUFFER = 1_000
"""The number of messages that may wait; more are dropped."""
POLL_SECONDS = 1.0
"""Seconds between two reads of the connection, for heartbeats and for the end of an alarm."""
CLOSE_SECONDS = 1.0
"""Seconds for the last messages, such as ``worker-offline``, when the process stops."""


class BackgroundPublisher:
    """A producer whose ``publish`` does not block: a thread sends on a separate connection.

    It replaces the producers of Celery's event dispatcher and mailbox.
    """

    def __init__(self, new_connection: Callable[[], Connection]) -> None:
        self._new_connection = new_connection
        self._waiting: deque[tuple[Any, dict[str, Any]]] = deque(maxlen=BUFFER)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._throttle = LogThrottle()

    def publish(self, body: Any, **options: Any) -> None:
        """Send soon, or drop; options as of kombu's ``Producer.publish``."""
        self._waiting.append((body, options))
        self._wake.set()
        if self._thread is None:
            self._start()

    @contextmanager
    def acquire(self, *_: object, **__: object) -> Iterator[BackgroundPublisher]:
        """The interface of a pool of producers."""
        yield self

    def close(self) -> None:
        """Send waiting messages if the broker accepts them, and end the thread."""
        self._stop.set()
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(timeout=CLOSE_SECONDS)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, name="background publisher", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        wait = 0.5
        while not self._stop.is_set():
            try:
                self._serve()
                wait = 0.5
            except Exception as error:  # noqa: BLE001 - no error may end the thread
                self._waiting.clear()
                sentence = "The connection for Celery's own messages failed; they are dropped until it works."
                self._log(LogEvent("background_publisher_failed", sentence, error=safe_message(error)))
                self._stop.wait(wait)
                wait = min(wait * 2, 10.0)

    def _serve(self) -> None:
        connection = self._new_connection()
        try:
            producer, looked = Producer(connection, auto_declare=False), time.monotonic()
            while not self._stop.is_set():
                self._wake.wait(POLL_SECONDS)
                self._wake.clear()
                if time.monotonic() - looked >= POLL_SECONDS:
                    _read(connection)
                    looked = time.monotonic()
                self._send(producer, connection)
            self._send(producer, connection)
        finally:
            _close(connection)

    def _send(self, producer: Producer, connection: Connection) -> None:
        while self._waiting:
            if _blocked(connection):
                self._waiting.clear()
                return
            try:
                body, options = self._waiting.popleft()
            except IndexError:  # the buffer dropped it meanwhile
                return
            try:
                producer.publish(body, **{**options, "retry": False})
            except (*connection.connection_errors, *connection.channel_errors):
                raise
            except Exception as error:  # noqa: BLE001 - other messages can still be sent
                sentence = "An event or a reply of Celery cannot be encoded and is dropped."
                self._log(LogEvent("background_message_dropped", sentence, error=safe_message(error)))

    def _log(self, event: LogEvent) -> None:
        if self._throttle.due(f"{event.code} {event.fields['error']}"):
            logger.warning(event)


class Dispatcher(EventDispatcher):
    """Celery's event dispatcher with the background publisher instead of a connection."""

    def __init__(self, connection: Any = None, **options: Any) -> None:
        super().__init__(None, **options)

    def enable(self) -> None:
        """Use the background publisher."""
        with self.mutex:
            self.producer = self.app.ordersaga.background
            self._closed, self.enabled = False, True
        for callback in self.on_enabled:
            callback()


class NoConnection:
    """Replaces the connection that Celery opens for its event dispatcher."""

    supports_heartbeats = False


def _read(connection: Connection) -> None:
    """Read heartbeats and alarms from the broker."""
    if connection.transport.driver_type != "amqp":
        return
    with suppress(TimeoutError):
        while True:
            connection.drain_events(timeout=0)
    connection.heartbeat_check()


def _blocked(connection: Connection) -> bool:
    return getattr(connection._connection, "blocked", None) is not None


def _close(connection: Connection) -> None:
    with suppress(Exception):
        connection.release()
