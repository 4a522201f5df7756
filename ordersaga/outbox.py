"""Record what is said, now or for later, in the transaction that caused it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from ordersaga.batch import SagaId
from ordersaga.database import Cursor
from ordersaga.envelope import (
    MAX_SIGNAL_BYTES,
    PackHeader,
    SignalRow,
    encode_pack,
    encode_row,
    encoded_size,
    json_text,
    split_rows,
)
from ordersaga.errors import SignalTooLarge
from ordersaga.ids import derived_id, new_id
from ordersaga.signal import Refusal, Signal, topic_of
from ordersaga.sql import among
from ordersaga.sql import journal as journal_sql
from ordersaga.sql import outbox as sql

ANSWER, ATTENTION, NOTICE, WATCHDOG, UNDO, LETTER = (
    "answer",
    "attention",
    "notice",
    "watchdog",
    "undo",
    "letter",
)
RESUME = "resume"
"""The engine's own topics, beside ``signal.*`` and ``refusal.*``."""

NOW = timedelta(0)


class _OutboxRow(NamedTuple):
    kind: str
    topic: str
    recipient: str | None
    signals: int
    payload: str
    later: timedelta


class Outbox:
    """What one transaction of one participant says; written by :meth:`flush` in as few statements
    as can be.
    """

    def __init__(self, header: PackHeader, *, notices: bool) -> None:
        """:param notices: whether an observer listens, so that what says no signal is told to it."""
        self.header, self._notices = header, notices
        self.now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._emitted: defaultdict[str, list[str]] = defaultdict(list)
        self._sagas: defaultdict[str, list[SagaId]] = defaultdict(list)
        self._messages: defaultdict[str, list[str]] = defaultdict(list)
        self._rows: list[_OutboxRow] = []
        self._retries: list[tuple[str, SagaId, str, timedelta]] = []
        self._timers: defaultdict[tuple[str, str], list[tuple[SagaId, timedelta]]] = defaultdict(list)

    def emitted_pack(self, topic: str) -> tuple[str, int]:
        """The pack of what was said under a topic, and how many signals it holds."""
        rows = self._emitted[topic]
        return encode_pack(self.header, rows), len(rows)

    def emit(
        self, saga: SagaId, signal: Signal, *, cause: SignalRow[Any] | None = None, trace: str | None = None
    ) -> None:
        """A signal for whoever hears it, kept in the pack that the journal's row points at.

        :raises SignalTooLarge: when it exceeds :data:`MAX_SIGNAL_BYTES`.
        """
        reason = signal.reason() if isinstance(signal, Refusal) else None
        topic, row = (
            topic_of(type(signal)),
            self._row(saga, cause, signal.model_dump_json(), type(signal).version, 0, trace, reason),
        )
        if (size := encoded_size(row)) > MAX_SIGNAL_BYTES:
            raise SignalTooLarge(type(signal).__name__, size, MAX_SIGNAL_BYTES)
        self._emitted[topic].append(row)
        self._sagas[topic].append(saga)

    def repeat(
        self, saga: SagaId, topic: str, recorded: SignalRow[Any], cause: SignalRow[Any] | None
    ) -> None:
        """A signal that was said before, marked *again*."""
        data = orjson.dumps(recorded.data).decode()
        id_ = self._repeatable_id(cause, topic, recorded.id)
        row = self._row(saga, cause, data, recorded.version, 1, recorded.trace, recorded.reason, id_)
        self._messages[topic].append(row)

    def answer(self, saga: SagaId, cause: SignalRow[Any] | None) -> None:
        """Nothing of this saga is left here, nor ever will be."""
        data = f'{{"participant":{json_text(self.header.participant)}}}'
        self._messages[ANSWER].append(self._row(saga, cause, data, id_=self._repeatable_id(cause, ANSWER)))

    def attention(self, saga: SagaId, cause: SignalRow[Any] | None, reason: str) -> None:
        """A person must look at this saga."""
        self._messages[ATTENTION].append(self._row(saga, cause, "{}", reason=reason))

    def notice(
        self,
        saga: SagaId,
        cause: SignalRow[Any] | None,
        what: str,
        reason: str | None = None,
        *,
        id_: str | None = None,
        **data: Any,
    ) -> None:
        """Something the saga's story should tell and no signal says.

        :param id_: its id, where one cause may have several equal notices; by default they count as one.
        """
        if self._notices:
            text = orjson.dumps({"what": what, **data}).decode()
            id_ = id_ or self._repeatable_id(cause, NOTICE, text, reason or "")
            self._messages[NOTICE].append(self._row(saga, cause, text, reason=reason, id_=id_))

    def retry(self, row: SignalRow[Any], header: PackHeader, topic: str, later: timedelta = NOW) -> None:
        """A signal heard, once more and alone, to the own queue."""
        self.forward(row, header, topic, to=self.header.participant, later=later)

    def retry_later(self, row: SignalRow[Any], header: PackHeader, topic: str, later: timedelta) -> None:
        """As :meth:`retry`; one that is pending for this saga and topic is replaced.

        So a repeated signal that fails as well begins no second series of retries. Not for topics of which a
        saga may have several messages under way, such as answers.
        """
        text = encode_row(row._replace(data=orjson.dumps(row.data).decode()))
        self._retries.append((topic, row.saga, encode_pack(header, [text]), later))

    def forward(
        self, row: SignalRow[Any], header: PackHeader, topic: str, *, to: str | None, later: timedelta = NOW
    ) -> None:
        """A row as it stands, to one participant's queue alone, or to all who hear its topic."""
        text = encode_row(row._replace(data=orjson.dumps(row.data).decode()))
        self._rows.append(
            _OutboxRow("retry" if to else "said", topic, to, 1, encode_pack(header, [text]), later)
        )

    def defer(self, rows: Sequence[SignalRow[Any]], header: PackHeader, topic: str, later: timedelta) -> None:
        """Rows for a step that is paused, to the own queue."""
        self.forward_together(rows, header, topic, to=self.header.participant, kind="paused", later=later)

    def forward_together(
        self,
        rows: Sequence[SignalRow[Any]],
        header: PackHeader,
        topic: str,
        *,
        to: str | None,
        kind: str = "said",
        later: timedelta = NOW,
    ) -> None:
        """As :meth:`forward`, in as few packs as the rows fit in."""
        texts = [encode_row(row._replace(data=orjson.dumps(row.data).decode())) for row in rows]
        for part in split_rows(texts):
            count = part.stop - part.start
            self._rows.append(_OutboxRow(kind, topic, to, count, encode_pack(header, texts[part]), later))

    def timer(self, saga: SagaId, kind: str, topic: str, later: timedelta) -> None:
        """A row due later, which :meth:`cancel_timers` takes back; one of a kind for each saga."""
        self._timers[kind, topic].append((saga, later))

    def flush(self, cursor: Cursor, pack_id: int | None = None) -> None:
        """Write everything into the open transaction, and wake the relay at its commit if it may be asleep.

        :param pack_id: the pack that the journal's rows of this transaction point at.
        """
        for topic, rows in self._messages.items():
            for part in split_rows(rows):
                count = part.stop - part.start
                self._rows.append(
                    _OutboxRow("said", topic, None, count, encode_pack(self.header, rows[part]), NOW)
                )
        me = self.header.participant
        if self._emitted or self._rows:
            ids, topics, counts, packs = self._packs(cursor, pack_id)
            *columns, texts, later = [list(column) for column in zip(*self._rows, strict=True)] or [[]] * len(
                _OutboxRow._fields
            )
            values = [ids, topics, *packs, me, ids, topics, counts, me, *columns, *texts, later, me, me]
            cursor.execute(sql.record(len(packs), len(texts)), values)
        for topic, saga, text, wait in self._retries:
            cursor.execute(sql.RETRY, [me, topic, me, saga, text, wait])
        for (kind, topic), timers in self._timers.items():
            sagas, later = (list(column) for column in zip(*timers, strict=True))
            cursor.execute(sql.TIMERS, [me, kind, topic, me, timer_text(me), sagas, later])

    def _packs(
        self, cursor: Cursor, pack_id: int | None
    ) -> tuple[list[int | None], list[str], list[int], list[str]]:
        """Ids, topics, numbers of signals and texts of the packs.

        The journal's rows of what does not fit into the first pack of its topic are pointed at the next.
        """
        ids: list[int | None] = []
        topics, counts, texts = [], [], []
        for topic, rows in self._emitted.items():
            for part in split_rows(rows):
                own = pack_id
                if part.start and pack_id is not None:
                    own = next_pack(cursor)
                    cursor.execute(journal_sql.MOVE_PACK, [own, pack_id, *among(self._sagas[topic][part])])
                ids.append(own)
                topics.append(topic)
                counts.append(part.stop - part.start)
                texts.append(encode_pack(self.header, rows[part]))
        return ids, topics, counts, texts

    def _row(
        self,
        saga: SagaId,
        cause: SignalRow[Any] | None,
        data: str,
        version: int = 1,
        again: int = 0,
        trace: str | None = None,
        reason: str | None = None,
        id_: str | None = None,
    ) -> str:
        trace = trace or (cause.trace if cause else None)
        reason = reason and reason.replace("\0", "\\x00")  # whoever hears it writes it into a column of text
        return encode_row(
            SignalRow(
                id_ or new_id(),
                saga,
                cause.id if cause else None,
                version,
                self.now,
                again,
                trace,
                reason,
                data,
            )
        )

    def _repeatable_id(self, cause: SignalRow[Any] | None, *parts: str) -> str:
        """The same id each time the same message is handled, so that the audit trail keeps one row for all of
        them.
        """
        return derived_id(cause.id, self.header.participant, *parts) if cause else new_id()


def timer_text(participant: str) -> str:
    """The pack of a timer, with places for an id and a saga that PostgreSQL's format() fills."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    row, places = (
        encode_row(SignalRow("\0id", "\0saga", None, 1, at, 0, None, None, "{}")),
        {"\\u0000id": "%1$s", "\\u0000saga": "%2$s"},
    )
    text = encode_pack(PackHeader(participant, None, None, 1), [row]).replace("%", "%%")
    for place, specifier in places.items():
        text = text.replace(place, specifier)
    return text


def cancel_timers(cursor: Cursor, sagas: list[SagaId], *kinds: str) -> None:
    """Take back the timers of these kinds."""
    cursor.execute(sql.STRIKE, [*among(sagas), list(kinds)])


def next_pack(cursor: Cursor) -> int:
    """A pack id for what this transaction says."""
    cursor.execute(journal_sql.NEXT_PACK)
    return int(cursor.fetchone()[0])


def read_emitted(
    cursor: Cursor, pack_ids: Mapping[SagaId, Iterable[int]], *, published_by: str | None = None
) -> dict[SagaId, list[tuple[str, SignalRow[Any]]]]:
    """What was said about each saga in the given packs: topic and row.

    :param published_by: a participant; packs that its outbox has yet to publish to the others are left out.
    """
    wanted = sorted({pack for packs in pack_ids.values() for pack in packs})
    found: dict[SagaId, list[tuple[str, SignalRow[Any]]]] = {saga: [] for saga in pack_ids}
    if not wanted:
        return found
    if published_by is None:
        cursor.execute(journal_sql.PACKS, [wanted])
    else:
        cursor.execute(journal_sql.PUBLISHED_PACKS, [wanted, published_by])
    for pack_id, topic, payload in cursor.fetchall():
        for raw in orjson.loads(payload)["signals"]:
            row: SignalRow[Any] = SignalRow(*raw)
            if row.saga in pack_ids and pack_id in pack_ids[row.saga]:
                found[row.saga].append((topic, row))
    return found
