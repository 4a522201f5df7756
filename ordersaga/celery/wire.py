"""An envelope as a Celery message, and back: what is published, and what is let in."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import kombu.compression
from kombu import Connection, Producer
from kombu.serialization import register

from ordersaga.celery.topology import SIGNALS, declare
from ordersaga.choreography import Choreography
from ordersaga.envelope import MAX_BYTES, Keyring, digest
from ordersaga.errors import EnvelopeError
from ordersaga.relay import Parcel

CONTENT_TYPE = "application/vnd.ordersaga+json"
SERIALIZER = "ordersaga"
CONFIRM_SECONDS = 10
CONFIRMED = {"confirm_publish": True}
"""Transport options of the relay's connection, and of no other."""
MAX_HEADER = 255
"""Characters of a header that the signature covers, and of the signature itself."""
MANY = 10**6
"""More deliveries than that nobody has counted."""


def install() -> None:
    """Teach kombu the envelope's content type, and make it forget how to inflate: a header must not unpack a bomb."""
    register(SERIALIZER, _no_encoder, _decode, content_type=CONTENT_TYPE, content_encoding="binary")
    kombu.compression._decoders.clear()


def _no_encoder(_: Any) -> bytes:
    raise TypeError("envelopes are written by the relay")


def _decode(body: bytes | memoryview | str) -> tuple[tuple[bytes], dict[str, Any], dict[str, None]]:
    """The body is the task's one argument, unparsed: the receiver knows its types."""
    raw = body.encode() if isinstance(body, str) else bytes(body)
    return (raw,), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class Publisher:
    """Publishes parcels with confirms on a connection of its own; makes a new one after an error."""

    def __init__(self, connection: Connection, choreography: Choreography, keyring: Keyring) -> None:
        self._template, self._choreography, self._keyring = connection, choreography, keyring
        self._connection: Connection | None = None
        self._producer: Producer | None = None

    def __call__(self, parcels: Sequence[Parcel]) -> None:
        """Publish, and return once the broker has confirmed all.

        :raises Exception: when one was not confirmed; the caller keeps all of them.
        """
        try:
            for parcel in parcels:
                self._publish(parcel)
        except BaseException:
            self.close()
            raise

    def waiting(self) -> int:
        """How many messages wait in the fullest queue of a participant with steps; the observer's may lag."""
        channel = self._open().channel
        workers = [p for p in self._choreography.participants.values() if p.steps]
        return max(int(channel.queue_declare(queue=p.name, passive=True).message_count) for p in workers)

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            socket = getattr(connection._connection, "transport", None)
            if socket is not None:  # py-amqp: without the handshake, which a broker that hangs would never answer
                socket.close()
            with suppress(*connection.connection_errors):
                connection.release()

    def _publish(self, parcel: Parcel) -> None:
        signature = self._keyring.sign(parcel.id, parcel.topic, parcel.signals, parcel.body)
        self._open().publish(
            parcel.body,
            exchange=SIGNALS.name,
            routing_key=parcel.routing_key,
            content_type=CONTENT_TYPE,
            content_encoding="binary",
            delivery_mode=2,
            message_id=parcel.id,
            correlation_id=parcel.id,
            headers={
                "task": parcel.topic,
                "id": parcel.id,
                "ordersaga-signals": parcel.signals,
                "ordersaga-signature": signature,
            },
            timeout=CONFIRM_SECONDS,
            confirm_timeout=CONFIRM_SECONDS,
        )

    def _open(self) -> Producer:
        if self._producer is None:
            self._connection = self._template.clone(heartbeat=0)  # the relay may be busy for longer; TCP notices
            self._connection.transport_options = {**(self._connection.transport_options or {}), **CONFIRMED}
            declare(self._connection, self._choreography)
            self._producer = Producer(self._connection)
        return self._producer


def raw_body(message: Any) -> bytes:
    """The body as bytes, whatever the transport made of it."""
    body = message.body
    return body.encode(errors="surrogateescape") if isinstance(body, str) else bytes(body or b"")


def admit(message: Any, keyring: Keyring, tasks: dict[str, str]) -> dict[str, Any]:
    """The Celery headers of a message that may be let in, made anew from what is signed.

    Nothing of the message's own headers is trusted but what the signature covers: no eta, no expiry, no other task's name.

    :param tasks: the task for each topic that this participant hears; a key ending in ``.`` stands for all that begin so.
    :raises EnvelopeError: when it must not be let in.
    """
    body = raw_body(message)
    headers = message.headers or {}
    if not body:  # kombu would not decode it, and the worker die of what it gives instead
        raise EnvelopeError("empty", digest(body))
    if len(body) > MAX_BYTES:
        raise EnvelopeError(f"{len(body):,} bytes are over the limit of {MAX_BYTES:,}", digest(body))
    if headers.get("compression"):
        raise EnvelopeError("compressed", digest(body))
    if message.content_type != CONTENT_TYPE:
        raise EnvelopeError(f"content type {str(message.content_type)[:60]!r} is no envelope", digest(body))
    topic, id_, signature = (_text(headers, name, body) for name in ("task", "id", "ordersaga-signature"))
    signals = headers.get("ordersaga-signals")
    if not isinstance(signals, int) or isinstance(signals, bool):
        raise EnvelopeError("does not tell how many signals it holds", digest(body))
    keyring.verify(signature, id_, topic, signals, body)
    task = tasks.get(topic) or tasks.get(topic.partition(".")[0] + ".")
    if task is None:
        raise EnvelopeError(f"nobody here hears {topic[:80]!r}", digest(body))
    return {
        "lang": "py",
        "task": task,
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{id_} {task}")),
        "root_id": id_,
        "parent_id": id_,
        "argsrepr": f"({signals} × {topic})",
        "kwargsrepr": "{}",
        "retries": 0,
        "timelimit": [None, None],
        "ordersaga_topic": topic,
        "ordersaga_count": redeliveries(headers) if (message.delivery_info or {}).get("redelivered") else 0,
    }


def _text(headers: Mapping[str, Any], name: str, body: bytes) -> str:
    """A header's text; empty when there is none."""
    value = headers.get(name, "")
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_HEADER:
        raise EnvelopeError(f"its header {name} is not a short printable text", digest(body))
    return value


def redeliveries(headers: Mapping[str, Any]) -> int:
    """As the broker counts them; at its first delivery the header is the sender's, who may write anything."""
    count = headers.get("x-delivery-count")
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < MANY else 0
