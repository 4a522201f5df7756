"""An envelope as a Celery message, and back: what is published, and what is let in."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import kombu.compression
from kombu.serialization import register

from ordersaga.envelope import MAX_BYTES, digest
from ordersaga.errors import EnvelopeError
from ordersaga.signing import Keyring

CONTENT_TYPE = "application/vnd.ordersaga+json"
SERIALIZER = "ordersaga"
MAX_HEADER = 255
"""Characters of a header that the signature covers, and of the signature itself."""
MANY = 10**6
"""More deliveries than that nobody has counted."""


def install() -> None:
    """Teach kombu the envelope's content type, and make it forget how to inflate: a header must not unpack a
    bomb.
    """
    register(SERIALIZER, _no_encoder, _decode, content_type=CONTENT_TYPE, content_encoding="binary")
    kombu.compression._decoders.clear()


def _no_encoder(_: Any) -> bytes:
    raise TypeError("envelopes are written by the relay")


def _decode(body: bytes | memoryview | str) -> tuple[tuple[bytes], dict[str, Any], dict[str, None]]:
    """The body is the task's one argument, unparsed: the receiver knows its types."""
    raw = body.encode() if isinstance(body, str) else bytes(body)
    return (raw,), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def raw_body(message: Any) -> bytes:
    """The body as bytes, whatever the transport made of it."""
    body = message.body
    return body.encode(errors="surrogateescape") if isinstance(body, str) else bytes(body or b"")


def validate(message: Any, keyring: Keyring, tasks: dict[str, str]) -> dict[str, Any]:
    """The Celery headers of a message that may be let in, made anew from what is signed.

    Nothing of the message's own headers is trusted but what the signature covers: no eta, no expiry, no other
    task's name.

    :param tasks: the task for each topic that this participant hears; a key ending in ``.`` stands for all
        that begin so.
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
        "ordersaga_signals": signals,
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
