"""Record outgoing signals, due now or later, in the transaction that causes them."""

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
from ordersaga.sql import outbox as outbox_sql

ANSWER, ATTENTION, NOTICE = "answer", "attention", "notice"
WATCHDOG, UNDO = "watchdog", "undo"
SETTLE_DEAD_LETTER, RESUME_STEP = "letter", "resume"
"""The topics of the engine. All others begin with ``signal.`` or ``refusal.``."""

NOW = timedelta(0)


class _OutboxRow(NamedTuple):
    kind: str
    topic: str
    recipient: str | None
    signals: int
    payload: str
    later: timedelta


class Outbox:
    """The signals that one transaction of one participant emits; :meth:`flush` writes them together."""

    def __init__(self, header: PackHeader, *, notices: bool) -> None:
        """:param notices: whether an observer exists; without one, notices are dropped."""
        self.header, self._notices = header, notices
        self.now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._emitted: defaultdict[str, list[str]] = defaultdict(list)
        self._sagas: defaultdict[str, list[SagaId]] = defaultdict(list)
        self._messages: defaultdict[str, list[str]] = defaultdict(list)
        self._rows: list[_OutboxRow] = []
        self._retries: list[tuple[str, SagaId, str, timedelta]] = []
        self._timers: defaultdict[tuple[str, str], list[tuple[SagaId, timedelta]]] = defaultdict(list)

    def emitted_pack(self, topic: str) -> tuple[str, int]:
        """The pack of the signals emitted under a topic, and their number."""
        rows = self._emitted[topic]
        return encode_pack(self.header, rows), len(rows)

    def emit(
        self, saga: SagaId, signal: Signal, *, cause: SignalRow[Any] | None = None, trace: str | None = None
    ) -> None:
        """Emit a signal. The journal's row refers to its pack, which is kept until the saga is pruned.

        :raises SignalTooLarge: when it exceeds :data:`MAX_SIGNAL_BYTES`.
        """
        reason = signal.reason() if isinstance(signal, Refusal) else None
        topic, version = topic_of(type(signal)), type(signal).version
        row = self._row(saga, cause, signal.model_dump_json(), version, 0, trace, reason)
        if (size := encoded_size(row)) > MAX_SIGNAL_BYTES:
            raise SignalTooLarge(type(signal).__name__, size, MAX_SIGNAL_BYTES)
        self._emitted[topic].append(row)
        self._sagas[topic].append(saga)

    def repeat(
        self, saga: SagaId, topic: str, recorded: SignalRow[Any], cause: SignalRow[Any] | None
    ) -> None:
        """Re-send a recorded signal, marked *again*."""
        data = orjson.dumps(recorded.data).decode()
        id_ = self._repeatable_id(cause, topic, recorded.id)
        row = self._row(saga, cause, data, recorded.version, 1, recorded.trace, recorded.reason, id_)
        self._messages[topic].append(row)

    def answer(self, saga: SagaId, cause: SignalRow[Any] | None) -> None:
        """Answer that this participant has compensated the saga."""
        data = f'{{"participant":{json_text(self.header.participant)}}}'
        self._messages[ANSWER].append(self._row(saga, cause, data, id_=self._repeatable_id(cause, ANSWER)))

    def attention(self, saga: SagaId, cause: SignalRow[Any] | None, reason: str) -> None:
        """Ask the initiator to flag the saga for attention."""
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
        """Record an event for observers that no signal contains.

        :param id_: its id, if one cause may have several equal notices; by default they count as one.
        """
        if self._notices:
            text = orjson.dumps({"what": what, **data}).decode()
            id_ = id_ or self._repeatable_id(cause, NOTICE, text, reason or "")
            self._messages[NOTICE].append(self._row(saga, cause, text, reason=reason, id_=id_))

    def retry(self, row: SignalRow[Any], header: PackHeader, topic: str, later: timedelta = NOW) -> None:
        """Put a received signal, alone, into the participant's own queue."""
        self.send_row(row, header, topic, to=self.header.participant, later=later)

    def retry_later(self, row: SignalRow[Any], header: PackHeader, topic: str, later: timedelta) -> None:
        """As :meth:`retry`, but replace a retry that is pending for this saga and topic.

        A repeated signal that fails therefore starts no second series of retries. Not for topics of which a
        saga may have several messages at once, such as answers.
        """
        text = encode_row(row._replace(data=orjson.dumps(row.data).decode()))
        self._retries.append((topic, row.saga, encode_pack(header, [text]), later))

    def send_row(
        self, row: SignalRow[Any], header: PackHeader, topic: str, *, to: str | None, later: timedelta = NOW
    ) -> None:
        """Send a row unchanged to one participant, or (None) to all that consume its topic."""
        text = encode_row(row._replace(data=orjson.dumps(row.data).decode()))
        self._rows.append(
            _OutboxRow("retry" if to else "said", topic, to, 1, encode_pack(header, [text]), later)
        )

    def defer(self, rows: Sequence[SignalRow[Any]], header: PackHeader, topic: str, later: timedelta) -> None:
        """Keep rows of a paused step for the participant's own queue."""
        self.send_rows(rows, header, topic, to=self.header.participant, kind="paused", later=later)

    def send_rows(
        self,
        rows: Sequence[SignalRow[Any]],
        header: PackHeader,
        topic: str,
        *,
        to: str | None,
        kind: str = "said",
        later: timedelta = NOW,
    ) -> None:
        """As :meth:`send_row`, with rows in as few packs as possible."""
        texts = [encode_row(row._replace(data=orjson.dumps(row.data).decode())) for row in rows]
        for part in split_rows(texts):
            count = part.stop - part.start
            self._rows.append(_OutboxRow(kind, topic, to, count, encode_pack(header, texts[part]), later))

    def timer(self, saga: SagaId, kind: str, topic: str, later: timedelta) -> None:
        """Set the saga's only timer of this kind; :func:`cancel_timers` removes it."""
        self._timers[kind, topic].append((saga, later))

    def flush(self, cursor: Cursor, pack_id: int | None = None) -> None:
        """Write everything in the open transaction, and notify a relay that may be asleep at its commit.

        :param pack_id: the pack to which the journal's rows of this transaction refer.
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
            cursor.execute(outbox_sql.record(len(packs), len(texts)), values)
        for topic, saga, text, wait in self._retries:
            cursor.execute(outbox_sql.RETRY, [me, topic, me, saga, text, wait])
        for (kind, topic), timers in self._timers.items():
            sagas, later = (list(column) for column in zip(*timers, strict=True))
            cursor.execute(outbox_sql.TIMERS, [me, kind, topic, me, timer_text(me), sagas, later])

    def _packs(
        self, cursor: Cursor, pack_id: int | None
    ) -> tuple[list[int | None], list[str], list[int], list[str]]:
        """Ids, topics, numbers of signals and texts of the packs.

        If the signals of a topic need several packs, the journal's rows are changed to refer to theirs.
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
        reason = reason and reason.replace("\0", "\\x00")  # a receiver stores it in a column of type text
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
        """The same id whenever the same message is handled, so that the audit trail stores it once."""
        return derived_id(cause.id, self.header.participant, *parts) if cause else new_id()


def timer_text(participant: str) -> str:
    """The pack of a timer, with placeholders for an id and a saga for PostgreSQL's ``format()``."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    row = encode_row(SignalRow("\0id", "\0saga", None, 1, at, 0, None, None, "{}"))
    text = encode_pack(PackHeader(participant, None, None, 1), [row]).replace("%", "%%")
    return text.replace("\\u0000id", "%1$s").replace("\\u0000saga", "%2$s")


def cancel_timers(cursor: Cursor, sagas: list[SagaId], *kinds: str) -> None:
    """Remove the sagas' timers of these kinds."""
    cursor.execute(outbox_sql.CANCEL_TIMERS, [*among(sagas), list(kinds)])


def next_pack(cursor: Cursor) -> int:
    """A new pack id for the signals of this transaction."""
    cursor.execute(journal_sql.NEXT_PACK)
    return int(cursor.fetchone()[0])


def read_emitted(
    cursor: Cursor, pack_ids: Mapping[SagaId, Iterable[int]], *, published_by: str | None = None
) -> dict[SagaId, list[tuple[str, SignalRow[Any]]]]:
    """Read the signals of each saga from the given packs, as topic and row.

    :param published_by: a participant; packs that its outbox has yet to publish are left out.
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
