"""The message format: up to some hundred signals of one topic in one signed message.

A **row** is one signal of one saga. A **pack** contains the rows that one transaction emitted under one
topic, with a header. An **envelope** joins packs as text, without parsing them::

    {"topic": "signal.OrderPlaced", "packs": [
        {"participant": "orders", ..., "signals": [[id, saga, cause, ...], ...]}
    ]}
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

import orjson
from pydantic import ValidationError

from ordersaga.batch import SagaId
from ordersaga.errors import EnvelopeError, NewerVersion
from ordersaga.signal import Signal

MAX_BYTES = 8 * 1024 * 1024
"""The largest envelope that is accepted."""
MAX_SIGNAL_BYTES = 3 * 1024 * 1024
"""The largest row that may be emitted.

A notice of a dead letter quotes the signal, and escaping JSON within JSON can double its size. That envelope
must not exceed :data:`MAX_BYTES` either.
"""
FULL_BYTES = 1024 * 1024
FULL_SIGNALS = 400
"""The limits at which a pack or an envelope is full; only a single large signal exceeds them."""
COLUMNS = 9
"""The number of columns of a row in JSON."""

UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

S = TypeVar("S")


class SignalRow(NamedTuple, Generic[S]):
    """One signal of one saga.

    :ivar at: when it was emitted, an ISO time in UTC.
    :ivar again: 1 for a re-sent signal.
    :ivar trace: a W3C traceparent.
    :ivar reason: of a refusal, for people.
    :ivar data: JSON text, a dictionary or a signal, depending on the stage.
    :ivar by: the participant that emitted it, from the pack's header.
    """

    id: str
    saga: SagaId
    cause: str | None
    version: int
    at: str
    again: int
    trace: str | None
    reason: str | None
    data: S
    by: str = ""


class PackHeader(NamedTuple):
    """The origin of a pack.

    :ivar step: the step or engine task that emitted it.
    :ivar task: the id of the Celery task.
    """

    participant: str
    step: str | None
    task: str | None
    attempt: int


class UnreadableRow(NamedTuple):
    """A row whose signal is not valid, or of a version that cannot be read."""

    row: SignalRow[Any]
    error: Exception


def encode_row(row: SignalRow[str]) -> str:
    """Encode a row whose ``data`` is JSON text; lone surrogates, which UTF-8 cannot encode, become ``?``."""
    id_, saga, cause, version, at, again, trace, reason, data, _ = row
    try:
        return _encode_row(id_, saga, cause, version, at, again, trace, reason, data)
    except orjson.JSONEncodeError:
        texts = (
            None if text is None else replace_surrogates(text)
            for text in (id_, saga, cause, at, trace, reason)
        )
        id_, saga, cause, at, trace, reason = texts  # type: ignore[assignment]
        return _encode_row(id_, saga, cause, version, at, again, trace, reason, replace_surrogates(data))


def _encode_row(
    id_: str,
    saga: SagaId,
    cause: str | None,
    version: int,
    at: str,
    again: int,
    trace: str | None,
    reason: str | None,
    data: str,
) -> str:
    values = (id_, saga, cause, version, at, int(again), trace, reason or None, orjson.Fragment(data))
    return orjson.dumps(values).decode()


def replace_surrogates(text: str) -> str:
    """Replace lone surrogates, which neither UTF-8 nor PostgreSQL can store, by ``?``."""
    return text.encode(errors="replace").decode()


@lru_cache(maxsize=4096)
def json_text(text: str | None) -> str:
    """Encode a text or None as JSON; cached, because names and task ids recur."""
    return orjson.dumps(None if text is None else replace_surrogates(text)).decode()


def encode_pack(header: PackHeader, rows: Iterable[str]) -> str:
    """Encode a pack of encoded rows."""
    return (
        f'{{"participant":{json_text(header.participant)},"step":{json_text(header.step)},"task":{json_text(header.task)},'
        f'"attempt":{int(header.attempt)},"signals":[{",".join(rows)}]}}'
    )


def encode_envelope(topic: str, packs: Sequence[str]) -> bytes:
    """Encode an envelope of encoded packs."""
    return join_packs(topic, [pack.encode() for pack in packs])


def join_packs(topic: str, packs: Sequence[bytes]) -> bytes:
    """Join packs, as UTF-8, to an envelope."""
    return b"".join((f'{{"topic":{json_text(topic)},"packs":['.encode(), b",".join(packs), b"]}"))


def envelope_size(topic: str, sizes: Sequence[int]) -> int:
    """The size of an envelope with packs of these sizes, in bytes."""
    return len(join_packs(topic, ())) + sum(sizes) + max(len(sizes) - 1, 0)


def encoded_size(text: str) -> int:
    """The size of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def split_rows(rows: Sequence[str]) -> Iterator[slice]:
    """The slices of ``rows`` that each fit into one pack."""
    start = size = 0
    for n, row in enumerate(rows):
        length = encoded_size(row) + 1
        if n > start and (n - start >= FULL_SIGNALS or size + length > FULL_BYTES):
            yield slice(start, n)
            start, size = n, 0
        size += length
    if rows:
        yield slice(start, len(rows))


def split_pack(text: str) -> Iterator[tuple[int, str]]:
    """Split a pack; yield the number of signals and the text of each part, or nothing if it is not a pack."""
    try:
        pack = orjson.loads(text)
        header = PackHeader(pack["participant"], pack["step"], pack["task"], pack["attempt"])
        rows = [orjson.dumps(row).decode() for row in pack["signals"]]
    except (ValueError, KeyError, TypeError):
        return
    for part in split_rows(rows):
        yield part.stop - part.start, encode_pack(header, rows[part])


def find_fault(body: bytes, signals: int) -> str | None:
    """Why receivers could not read an envelope with ``signals`` signals; None if they can."""
    try:
        packs: Any = orjson.loads(body)["packs"]
        rows = [row for pack in packs for row in pack["signals"]]
        named = all(isinstance(pack["participant"], str) for pack in packs)
        whole = all(len(row) == COLUMNS for row in rows)
    except (ValueError, KeyError, TypeError):
        return "its payload is not a pack"
    if not named or not whole:
        return "its payload lacks a pack's participant or a signal's columns"
    return (
        None
        if len(rows) == signals
        else f"its payload holds {len(rows)} signals and its row counts {signals}"
    )


def read_packs(body: bytes) -> list[tuple[PackHeader, list[SignalRow[Any]]]]:
    """Parse an envelope; the data of its signals are dictionaries.

    :raises EnvelopeError: when it is not an envelope, or a saga's id is not a UUID, which PostgreSQL would
        refuse and the log must not show.
    """
    try:
        packs: list[tuple[PackHeader, list[SignalRow[Any]]]] = [
            (
                PackHeader(p["participant"], p["step"], p["task"], p["attempt"]),
                [SignalRow._make((*s, p["participant"])) for s in p["signals"]],
            )
            for p in orjson.loads(body)["packs"]
        ]
        ids_are_good = all(UUID_TEXT.fullmatch(row.saga) for _, rows in packs for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise EnvelopeError(f"not an envelope: {error}", digest(body)) from error
    if not ids_are_good:
        raise EnvelopeError("not an envelope: a saga's id is not a UUID", digest(body))
    return packs


def read_rows(body: bytes) -> list[SignalRow[Any]]:
    """The rows of all packs of an envelope."""
    return [row for _, rows in read_packs(body) for row in rows]


class Reader:
    """Reads rows of one signal class; its ``upcast`` translates older versions."""

    def __init__(self, signal: type[Signal]) -> None:
        self.signal = signal

    def read(self, body: bytes) -> tuple[list[SignalRow[Any]], list[UnreadableRow]]:
        """Parse an envelope and validate its signals; return valid and unreadable rows.

        :raises EnvelopeError: when it is not an envelope.
        """
        return self.validate(read_rows(body))

    def validate(self, rows: Iterable[SignalRow[Any]]) -> tuple[list[SignalRow[Any]], list[UnreadableRow]]:
        """Validate rows whose data are dictionaries; return those with signals and the unreadable ones."""
        good, bad = [], []
        for row in rows:
            try:
                good.append(row._replace(data=self.signal_of(row)))
            except (ValueError, ValidationError, TypeError, KeyError) as error:
                bad.append(UnreadableRow(row, error))
        return good, bad

    def signal_of(self, row: SignalRow[Any]) -> Signal:
        """Validate the signal of a row whose data is a dictionary.

        :raises ValueError: when its version cannot be read, or its data is not valid (pydantic's error).
        """
        data, current = row.data, self.signal.version
        if row.version > current:
            name = self.signal.__name__
            raise NewerVersion(
                f"{name} version {row.version} is newer than {current}: deploy this pool first"
            )
        if row.version < current:
            data = self.signal.upcast(row.version, data)
        return self.signal.model_validate(data)


def with_plain_data(row: SignalRow[Any]) -> SignalRow[Any]:
    """Convert the signal of a row back to a dictionary, in the version that this process writes."""
    if isinstance(row.data, Signal):
        return row._replace(data=row.data.model_dump(mode="json"), version=type(row.data).version)
    return row


def digest(body: bytes) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a body, to identify it without printing it."""
    return hashlib.sha256(body).hexdigest()[:16]
