"""What travels: up to some hundred signals of one topic in one signed message.

A **row** is one signal said about one saga. A **pack** is the text of what one transaction said under one
topic, with its header (who said it, in which step, task and attempt). An **envelope** is several packs, joined
as text without parsing::

    {"topic": "signal.OrderPlaced", "packs": [{"participant": "orders", ..., "signals": [[id, saga, cause,
    ...], ...]}]}
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
"""The largest signal that may be emitted, as it travels. A notice quotes a signal whose step was given up,
and the quotation marks of JSON within JSON can double it: that envelope must not exceed :data:`MAX_BYTES`
either.
"""
FULL_BYTES = 1024 * 1024
FULL_SIGNALS = 400
"""A pack and an envelope are full at so many bytes or signals; only a single larger signal exceeds them."""
COLUMNS = 9
"""Of a row as it travels."""

UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

S = TypeVar("S")


class SignalRow(NamedTuple, Generic[S]):
    """One signal as it travels."""

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
    """The participant that said it; told by the pack's header, not written in the row."""


class PackHeader(NamedTuple):
    """Who said a pack: participant, step, Celery task id, attempt."""

    participant: str
    step: str | None
    task: str | None
    attempt: int


class UnreadableRow(NamedTuple):
    """A row whose signal this participant cannot read."""

    row: SignalRow[Any]
    error: Exception


def encode_row(row: SignalRow[str]) -> str:
    """A row as JSON; its ``data`` is JSON text already. What UTF-8 cannot hold (lone surrogates) becomes
    ``?``.
    """
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
    """``text`` with ``?`` for each lone surrogate, which neither UTF-8 nor PostgreSQL can hold."""
    return text.encode(errors="replace").decode()


@lru_cache(maxsize=4096)
def json_text(text: str | None) -> str:
    """A text, or None, as JSON; names and task ids come again and again."""
    return orjson.dumps(None if text is None else replace_surrogates(text)).decode()


def encode_pack(header: PackHeader, rows: Iterable[str]) -> str:
    """A pack as JSON from rows as JSON."""
    return (
        f'{{"participant":{json_text(header.participant)},"step":{json_text(header.step)},"task":{json_text(header.task)},'
        f'"attempt":{int(header.attempt)},"signals":[{",".join(rows)}]}}'
    )


def encode_envelope(topic: str, packs: Sequence[str]) -> bytes:
    """An envelope from packs as JSON."""
    return join_packs(topic, [pack.encode() for pack in packs])


def join_packs(topic: str, packs: Sequence[bytes]) -> bytes:
    """An envelope from packs as encoded JSON."""
    return b"".join((f'{{"topic":{json_text(topic)},"packs":['.encode(), b",".join(packs), b"]}"))


def envelope_size(topic: str, sizes: Sequence[int]) -> int:
    """The bytes of an envelope from packs of so many bytes each."""
    return len(join_packs(topic, ())) + sum(sizes) + max(len(sizes) - 1, 0)


def encoded_size(text: str) -> int:
    """How many bytes a text has when encoded."""
    return len(text) if text.isascii() else len(text.encode())


def split_rows(rows: Sequence[str]) -> Iterator[slice]:
    """Where to cut rows so that each part fills at most one pack."""
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
    """A pack cut into parts, each with the number of its signals; nothing when it is no pack."""
    try:
        pack = orjson.loads(text)
        header = PackHeader(pack["participant"], pack["step"], pack["task"], pack["attempt"])
        rows = [orjson.dumps(row).decode() for row in pack["signals"]]
    except (ValueError, KeyError, TypeError):
        return
    for part in split_rows(rows):
        yield part.stop - part.start, encode_pack(header, rows[part])


def find_fault(body: bytes, signals: int) -> str | None:
    """Why receivers could not read an envelope of so many signals; None when they can."""
    try:
        packs: Any = orjson.loads(body)["packs"]
        rows = [row for pack in packs for row in pack["signals"]]
        named = all(isinstance(pack["participant"], str) for pack in packs)
        whole = all(len(row) == COLUMNS for row in rows)
    except (ValueError, KeyError, TypeError):
        return "its payload is no pack"
    if not named or not whole:
        return "its payload lacks a pack's participant or a signal's columns"
    return (
        None if len(rows) == signals else f"its payload holds {len(rows)} signals and its row says {signals}"
    )


def read_packs(body: bytes) -> list[tuple[PackHeader, list[SignalRow[Any]]]]:
    """Any envelope, its signals' data as plain dictionaries.

    :raises EnvelopeError: when it is no envelope, or a saga's id is not a UUID: no database takes it, and no
        log may show it.
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
    """The rows of any envelope, whoever said them."""
    return [row for _, rows in read_packs(body) for row in rows]


class Reader:
    """Reads envelopes of one signal; older versions are translated by its ``upcast``."""

    def __init__(self, signal: type[Signal]) -> None:
        self.signal = signal

    def read(self, body: bytes) -> tuple[list[SignalRow[Any]], list[UnreadableRow]]:
        """The readable rows and the others.

        :raises EnvelopeError: when it is no envelope.
        """
        return self.sort(read_rows(body))

    def sort(self, rows: Iterable[SignalRow[Any]]) -> tuple[list[SignalRow[Any]], list[UnreadableRow]]:
        """Rows whose data is a plain dictionary: the readable ones, with their signals, and the others."""
        good, bad = [], []
        for row in rows:
            try:
                good.append(row._replace(data=self.signal_of(row)))
            except (ValueError, ValidationError, TypeError, KeyError) as error:
                bad.append(UnreadableRow(row, error))
        return good, bad

    def signal_of(self, row: SignalRow[Any]) -> Signal:
        """The signal of a row whose data is a plain dictionary.

        :raises ValueError: when its version cannot be read or its data is not valid (pydantic's error is
            one).
        """
        data, current = row.data, self.signal.version
        if row.version > current:
            fault = f"{self.signal.__name__} version {row.version} is newer than {current}: deploy this pool first"
            raise NewerVersion(fault)
        if row.version < current:
            data = self.signal.upcast(row.version, data)
        return self.signal.model_validate(data)


def with_plain_data(row: SignalRow[Any]) -> SignalRow[Any]:
    """The row with its signal as a dictionary again, in the version that this process writes."""
    if isinstance(row.data, Signal):
        return row._replace(data=row.data.model_dump(mode="json"), version=type(row.data).version)
    return row


def digest(body: bytes) -> str:
    """A name for a body that does not print it."""
    return hashlib.sha256(body).hexdigest()[:16]
