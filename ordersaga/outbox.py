"""Record what is said, now or for later, in the transaction that caused it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from ordersaga.batch import SagaId
from ordersaga.database import Cursor
from ordersaga.envelope import FULL_BYTES, FULL_SIGNALS, Head, Row, pack_text, row_text
from ordersaga.ids import new_id
from ordersaga.signal import Refusal, Signal, topic_of
from ordersaga.sql import journal as journal_sql
from ordersaga.sql import outbox as sql

ANSWER, ATTENTION, NOTICE, WATCHDOG, UNDO = "answer", "attention", "notice", "watchdog", "undo"
"""The engine's own topics, beside ``signal.*`` and ``refusal.*``."""

NOW = timedelta(0)


class _Post(NamedTuple):
    kind: str
    topic: str
    recipient: str | None
    signals: int
    payload: str
    later: timedelta


class Outbox:
    """What one transaction of one participant says; written by :meth:`flush` in as few statements as can be."""

    def __init__(self, head: Head, *, notices: bool) -> None:
        """:param notices: whether an observer listens, so that what says no signal is told to it."""
        self.head, self._notices = head, notices
        self._now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._said: defaultdict[str, list[str]] = defaultdict(list)
        self._news: defaultdict[str, list[str]] = defaultdict(list)
        self._posts: list[_Post] = []
        self._timers: defaultdict[str, list[tuple[SagaId, str, timedelta]]] = defaultdict(list)

    def say(self, saga: SagaId, signal: Signal, *, cause: Row[Any] | None = None, trace: str | None = None) -> None:
        """A signal for whoever hears it, kept in the pack that the journal's row points at."""
        reason = signal.reason() if isinstance(signal, Refusal) else None
        data = signal.model_dump_json()
        self._said[topic_of(type(signal))].append(self._row(saga, cause, data, type(signal).version, 0, trace, reason))

    def say_again(self, saga: SagaId, topic: str, recorded: Row[Any], cause: Row[Any] | None) -> None:
        """A signal that was said before, marked *again*."""
        data = orjson.dumps(recorded.data).decode()
        row = self._row(saga, cause, data, recorded.version, 1, recorded.trace, recorded.reason)
        self._news[topic].append(row)

    def answer(self, saga: SagaId, cause: Row[Any] | None) -> None:
        """Nothing of this saga is left here, nor ever will be."""
        self._news[ANSWER].append(self._row(saga, cause, f'{{"participant":"{self.head.participant}"}}'))

    def attention(self, saga: SagaId, cause: Row[Any] | None, reason: str) -> None:
        """A person must look at this saga."""
        self._news[ATTENTION].append(self._row(saga, cause, "{}", reason=reason))

    def notice(self, saga: SagaId, cause: Row[Any] | None, what: str, reason: str | None = None, **data: Any) -> None:
        """Something the saga's story should tell and no signal says."""
        if self._notices:
            text = orjson.dumps({"what": what, **data}).decode()
            self._news[NOTICE].append(self._row(saga, cause, text, reason=reason))

    def retry(self, row: Row[Any], head: Head, topic: str, later: timedelta = NOW) -> None:
        """A signal heard, once more and alone, to the own queue."""
        text = row_text(row._replace(data=orjson.dumps(row.data).decode()))
        self._posts.append(_Post("retry", topic, self.head.participant, 1, pack_text(head, [text]), later))

    def timer(self, saga: SagaId, kind: str, topic: str, later: timedelta) -> None:
        """A row due later, which :meth:`strike` takes back; one of a kind for each saga."""
        self._timers[f"{kind} {topic}"].append((saga, pack_text(self.head, [self._row(saga, None, "{}")]), later))

    def flush(self, cursor: Cursor, pack_id: int | None = None) -> None:
        """Write everything into the open transaction and wake the relay if it may be asleep.

        :param pack_id: the pack that the journal's rows of this transaction point at.
        """
        says_now = bool(self._said or self._news or self._posts)
        if says_now:
            cursor.execute(sql.PENDING, [self.head.participant])
            awake = cursor.fetchone() is not None
        if self._said:
            packs = [(pack_id, t, len(rows), pack_text(self.head, rows)) for t, rows in self._said.items()]
            self._write_packs(cursor, packs)
        for topic, rows in self._news.items():
            for part in chunks(rows):
                self._posts.append(_Post("said", topic, None, len(part), pack_text(self.head, part), NOW))
        if self._posts:
            columns = [list(column) for column in zip(*self._posts, strict=True)]
            cursor.execute(sql.POST, [self.head.participant, *columns])
        for name, timers in self._timers.items():
            kind, topic = name.split(" ")
            sagas, payloads, later = (list(column) for column in zip(*timers, strict=True))
            me = self.head.participant
            cursor.execute(sql.TIMERS, [me, kind, topic, me, sagas, payloads, later])
        if says_now and not awake:
            cursor.execute(sql.WAKE, [self.head.participant])

    def _write_packs(self, cursor: Cursor, packs: Iterable[tuple[int | None, str, int, str]]) -> None:
        ids, topics, counts, payloads = (list(column) for column in zip(*packs, strict=True))
        cursor.execute(sql.SAY, [ids, topics, payloads, self.head.participant, ids, topics, counts])

    def _row(
        self,
        saga: SagaId,
        cause: Row[Any] | None,
        data: str,
        version: int = 1,
        again: int = 0,
        trace: str | None = None,
        reason: str | None = None,
    ) -> str:
        trace = trace or (cause.trace if cause else None)
        return row_text(Row(new_id(), saga, cause.id if cause else None, version, self._now, again, trace, reason, data))


def chunks(rows: list[str]) -> Iterable[list[str]]:
    """Rows in parts that each fill at most one envelope."""
    part: list[str] = []
    size = 0
    for row in rows:
        if part and (len(part) >= FULL_SIGNALS or size + len(row) > FULL_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += len(row)
    if part:
        yield part


def strike(cursor: Cursor, sagas: list[SagaId], *kinds: str) -> None:
    """Take back the timers of these kinds."""
    cursor.execute(sql.STRIKE, [sagas, list(kinds)])


def next_pack(cursor: Cursor) -> int:
    """A pack id for what this transaction says."""
    cursor.execute(journal_sql.NEXT_PACK)
    return int(cursor.fetchone()[0])


def recorded(cursor: Cursor, pack_ids: Mapping[SagaId, Iterable[int]]) -> dict[SagaId, list[tuple[str, Row[Any]]]]:
    """What was said about each saga in the given packs: topic and row."""
    wanted = sorted({pack for packs in pack_ids.values() for pack in packs})
    found: dict[SagaId, list[tuple[str, Row[Any]]]] = {saga: [] for saga in pack_ids}
    if not wanted:
        return found
    cursor.execute(journal_sql.PACKS, [wanted])
    for pack_id, topic, payload in cursor.fetchall():
        for raw in orjson.loads(payload)["signals"]:
            row: Row[Any] = Row(*raw)
            if row.saga in pack_ids and pack_id in pack_ids[row.saga]:
                found[row.saga].append((topic, row))
    return found
