"""kombu's AMQP transport with four guarantees that py-amqp does not give.

* No call waits for the broker without limit: a broker that stopped answering is an error of the connection.
* A broker that accepts no messages (its memory or disk alarm) is known by name: :data:`alarm`.
* A connection that the broker does not read from is closed without waiting for its answer.
* A message is delivered whatever its properties and routing key are: one that cannot be decoded is marked, so
  that it can be rejected, instead of ending the process that received it.
"""

# mypy: allow-untyped-calls
# py-amqp has no types.

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import kombu
from amqp import serialization, spec
from amqp import transport as amqp_transport
from kombu import transport as kombu_transports
from kombu.transport import pyamqp

from ordersaga.log import LogEvent

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 15.0
"""The default limit in seconds for the broker's response to a call."""
CLOSE_SECONDS = 3.0
"""Seconds to wait for the response to a close; then the socket is closed."""
WRITE_SECONDS = 15.0
"""Seconds that a write may block."""
SOCKET = {
    name: value
    for name, value in {
        getattr(socket, "TCP_KEEPIDLE", None): 15,
        getattr(socket, "TCP_KEEPINTVL", None): 5,
        getattr(socket, "TCP_KEEPCNT", None): 3,
        getattr(socket, "TCP_USER_TIMEOUT", None): 30_000,
    }.items()
    if name is not None
}
"""TCP options with which a lost broker is noticed after 30 seconds, as a database is (ordersaga.conninfo)."""
MAX_DEPTH = 16
"""The deepest nesting of tables and arrays in a header that is decoded."""
PROBE = "ordersaga.probe"
"""A name that no queue has: the broker drops messages to it through the default exchange."""
UNDECODABLE = "ordersaga-undecodable"
"""The only header of a message with undecodable properties; its value is the received bytes in hex."""


def install() -> None:
    """Register this transport for ``amqp://`` and ``amqps://`` in this process; idempotent."""
    for alias, transport in {"amqp": Transport, "pyamqp": Transport, "amqps": SSLTransport}.items():
        name = f"{transport.__module__}:{transport.__qualname__}"
        if kombu_transports.TRANSPORT_ALIASES.get(alias) != name:
            kombu_transports.TRANSPORT_ALIASES[alias] = name
            kombu_transports._transport_cache.pop(alias, None)
    serialization.PROPERTY_CLASSES[spec.Basic.CLASS_ID] = decode_properties


# -- alarm


class Alarm:
    """Whether the broker accepts messages from this process.

    While its memory or disk alarm is on, RabbitMQ stops reading from connections that publish, and notifies
    only these. The alarm concerns the whole broker, so one blocked connection is enough. It ends when a
    connection is unblocked or another one has a message confirmed, not when the blocked one is closed.
    Thread-safe.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        """The broker's reason, such as ``low on memory``; None while it accepts messages."""
        self._since = 0.0
        self._lock = threading.Lock()
        self._listeners: list[Callable[[str | None], None]] = []

    def listen(self, listener: Callable[[str | None], None]) -> None:
        """Call ``listener`` with the reason whenever it changes; from any thread."""
        self._listeners.append(listener)

    def begin(self, reason: str) -> None:
        """Record that the broker has blocked a connection."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason, self._since = reason, time.monotonic()
        sentence = "The broker accepts no messages; the outboxes keep them."
        logger.error(LogEvent("broker_alarm", sentence, reason=reason))
        self._notify()

    def end(self) -> None:
        """Record that the broker accepts messages."""
        with self._lock:
            if (reason := self.reason) is None:
                return
            self.reason, seconds = None, round(time.monotonic() - self._since, 1)
        sentence = "The broker accepts messages again."
        logger.warning(LogEvent("broker_alarm_cleared", sentence, reason=reason, seconds=seconds))
        self._notify()

    def _notify(self) -> None:
        for listener in self._listeners:
            listener(self.reason)


alarm = Alarm()


# -- the connection


class Connection(pyamqp.Connection):
    """An AMQP connection that waits only for a limited time and records whether the broker blocks it."""

    _METHODS = {
        **pyamqp.Connection._METHODS,
        spec.Connection.Blocked: spec.method(spec.Connection.Blocked, "s"),
    }

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("write_timeout", WRITE_SECONDS)
        if options.get("socket_settings") is None:
            options["socket_settings"] = SOCKET
        self.blocked: str | None = None
        """Why the broker does not read from this connection; None when it does."""
        self._deadline: float | None = None
        super().__init__(*args, **options)

    def Transport(  # noqa: N802 - kombu uses this name
        self, host: str, connect_timeout: float, ssl: Any = False, *timeouts: Any, **options: Any
    ) -> Any:
        """Create the socket's transport."""
        names = dict(zip(("read_timeout", "write_timeout"), timeouts, strict=False))
        if ssl:
            return _SSLSocket(host, connect_timeout=connect_timeout, ssl=ssl, **names, **options)
        return _Socket(host, connect_timeout=connect_timeout, **names, **options)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Limit the waits inside the block to ``seconds`` in total.

        :raises TimeoutError: from the call that waits.
        """
        before, until = self._deadline, time.monotonic() + seconds
        self._deadline = until if before is None else min(before, until)
        try:
            yield
        finally:
            self._deadline = before

    def blocking_read(self, timeout: float | None = None) -> Any:
        """Return the next frame.

        :raises TimeoutError: when it does not arrive within ``timeout`` or :meth:`within`.
        """
        if self._deadline is None:
            return super().blocking_read(timeout)
        left = self._deadline - time.monotonic()
        try:
            if left > 0:
                return super().blocking_read(left if timeout is None else min(timeout, left))
        except TimeoutError:
            if timeout is not None and timeout < left:
                raise
        raise TimeoutError(errno.ETIMEDOUT, "the broker has not answered in time")

    def wait(
        self, method: Any, callback: Any = None, timeout: float | None = None, returns_tuple: bool = False
    ) -> Any:
        """Return the broker's response.

        :raises TimeoutError: when it does not arrive in time.
        """
        limit = ANSWER_SECONDS if timeout is None else timeout
        with self.within(limit):
            return super().wait(method, callback, limit, returns_tuple)

    def close(self, *args: Any, **kwargs: Any) -> None:
        """Close the connection; wait shortly for the broker's response."""
        if self.blocked is not None:
            self.collect()
            return
        with self.within(CLOSE_SECONDS):
            super().close(*args, **kwargs)

    def _on_blocked(self, reason: str) -> None:
        self.blocked = reason or "no reason given"
        alarm.begin(self.blocked)
        if self.on_blocked:
            self.on_blocked(self.blocked)

    def _on_unblocked(self) -> None:
        self.blocked = None
        alarm.end()
        if self.on_unblocked:
            self.on_unblocked()


class Channel(pyamqp.Channel):
    """An AMQP channel that waits only for a limited time and delivers undecodable messages."""

    connection: Any
    """None once it is closed."""

    def wait(
        self, method: Any, callback: Any = None, timeout: float | None = None, returns_tuple: bool = False
    ) -> Any:
        """As :meth:`Connection.wait`."""
        connection = self.connection
        if connection is None:
            raise amqp.RecoverableConnectionError("connection already closed")
        limit = ANSWER_SECONDS if timeout is None else timeout
        with connection.within(limit):
            return super().wait(method, callback, limit, returns_tuple)

    def close(self, *args: Any, **kwargs: Any) -> None:
        """Close the channel; on a blocked connection, without a response of the broker."""
        connection = self.connection
        if connection is None:
            return
        if connection.blocked is not None:
            self.connection = None
            return
        with connection.within(CLOSE_SECONDS):
            super().close(*args, **kwargs)

    def dispatch_method(self, method_sig: Any, payload: bytes, content: Any) -> None:
        """Handle a received method; replace undecodable names in a delivery."""
        if method_sig == spec.Basic.Deliver:
            payload = _decodable(payload)
        super().dispatch_method(method_sig, payload, content)

    def _on_basic_ack(self, delivery_tag: int, multiple: bool) -> None:
        if alarm.reason is not None and self.connection is not None and self.connection.blocked is None:
            alarm.end()
        super()._on_basic_ack(delivery_tag, multiple)


Connection.Channel = Channel


class Transport(pyamqp.Transport):
    """The transport for ``amqp://``."""

    Connection = Connection


class SSLTransport(pyamqp.SSLTransport):
    """The transport for ``amqps://``."""

    Connection = Connection


class _Interruptible:
    """A socket that returns in the middle of a frame when no data is available, and keeps the data read.

    py-amqp would poll without a pause until the rest arrives, which blocks the worker's event loop, so that
    it cannot notice a lost broker. Each write is whole frames, because another thread may write heartbeats.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._writing = threading.Lock()

    def _read(self, n: int, initial: bool = False) -> bytes:
        found: bytes = super()._read(n, True)  # type: ignore[misc]
        return found

    def write(self, s: bytes) -> None:
        """Write all; after an error the connection is not used again, because half a frame may be sent."""
        try:
            with self._writing:
                self._write(s)  # type: ignore[attr-defined]
        except OSError:
            self.connected = False
            raise


class _Socket(_Interruptible, amqp_transport.TCPTransport):
    pass


class _SSLSocket(_Interruptible, amqp_transport.SSLTransport):
    pass


def why_blocked(connection: kombu.Connection, seconds: float = 5.0) -> str | None:
    """Probe the broker with a message; return its alarm, such as ``low on memory``, or None if it accepts.

    The message reaches no queue. A blocked connection cannot be used until the alarm ends.

    :raises TimeoutError: when the broker does not respond.
    """
    raw = connection.connection
    if not isinstance(raw, Connection):
        return None  # the embedded broker has no alarms
    confirmed: list[int] = []
    with raw.within(seconds):
        channel = raw.channel()
        channel.confirm_select()
        channel.events["basic_ack"].add(lambda tag, _: confirmed.append(tag))
        channel._basic_publish(amqp.Message(b""), routing_key=PROBE)
        try:
            while not confirmed and raw.blocked is None:
                raw.drain_events()
        except amqp.AccessRefused:  # no permission for the default exchange, but the broker has read it
            return None
    return raw.blocked


# -- received messages


def decode_properties(buffer: bytes, offset: int) -> tuple[dict[str, Any], int]:
    """Decode the properties of a message; if that fails, return only the header :data:`UNDECODABLE`."""
    try:
        properties, end = serialization.decode_properties_basic(buffer, offset)
        for value in properties.get("application_headers", {}).values():
            if isinstance(value, dict | list):
                _check_depth(value, MAX_DEPTH)
    except Exception:  # noqa: BLE001 - a sender may send any bytes
        return {"application_headers": {UNDECODABLE: bytes(buffer[offset:]).hex()}}, len(buffer)
    return properties, end


def _check_depth(value: Any, left: int) -> None:
    if left == 0:
        raise ValueError("nested too deep")
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_depth(inner, left - 1)


def _decodable(payload: bytes) -> bytes:
    """The arguments of Basic.Deliver, with ``?`` where an exchange's name or a routing key is not UTF-8."""
    tag_end = 5 + payload[4]
    start = tag_end + 9
    try:
        payload[start:].decode("utf-8")  # includes the length bytes, so this may fail for valid names
    except UnicodeDecodeError:
        exchange_end = start + 1 + payload[start]
        names = (payload[start + 1 : exchange_end], payload[exchange_end + 1 :])
        texts = [name.decode(errors="replace").replace("\ufffd", "?").encode() for name in names]
        return payload[:start] + b"".join(bytes([len(text)]) + text for text in texts)
    return payload
