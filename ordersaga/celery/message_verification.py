"""The AMQP messages of envelopes: content type, and verification of received messages."""

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
"""The longest signed header and the longest signature, in characters."""
MAX_REDELIVERIES = 10**6
"""Redelivery counts at or above this are invalid and read as 0."""


def install() -> None:
    """Register the content type with kombu, and disable decompression.

    Otherwise a small message could expand without limit.
    """
    register(SERIALIZER, _no_encoder, _decode, content_type=CONTENT_TYPE, content_encoding="binary")
    kombu.compression._decoders.clear()


def _no_encoder(_: Any) -> bytes:
    raise TypeError("envelopes are written by the relay")


def _decode(body: bytes | memoryview | str) -> tuple[tuple[bytes], dict[str, Any], dict[str, None]]:
    """Pass the unparsed body as the only argument of the task."""
    raw = body.encode() if isinstance(body, str) else bytes(body)
    return (raw,), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def raw_body(message: Any) -> bytes:
    """The body as bytes, for every transport."""
    body = message.body
    return body.encode(errors="surrogateescape") if isinstance(body, str) else bytes(body or b"")


def verify_and_build_headers(message: Any, keyring: Keyring, tasks: dict[str, str]) -> dict[str, Any]:
    """Verify a message's signature and limits; return Celery headers built from its signed headers only.

    The signature covers all that is used, so that a sender cannot set an ETA, an expiry or another task.

    :param tasks: the task for each topic that this participant consumes; a key that ends with a dot matches
        all topics with this beginning.
    :raises EnvelopeError: when the message must be rejected.
    """
    body = raw_body(message)
    headers = message.headers or {}
    if not body:  # kombu would not decode it, and the worker would crash
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
        raise EnvelopeError("its number of signals is missing", digest(body))
    keyring.verify(signature, id_, topic, signals, body)
    task = tasks.get(topic) or tasks.get(topic.partition(".")[0] + ".")
    if task is None:
        raise EnvelopeError(f"{topic[:80]!r} is not consumed here", digest(body))
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
    """The text of a header; empty if it is missing."""
    value = headers.get(name, "")
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_HEADER:
        raise EnvelopeError(f"its header {name} is not a short printable text", digest(body))
    return value


def redeliveries(headers: Mapping[str, Any]) -> int:
    """The broker's count; at the first delivery the sender wrote the header, so it is not trusted."""
    count = headers.get("x-delivery-count")
    return (
        count
        if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < MAX_REDELIVERIES
        else 0
    )
