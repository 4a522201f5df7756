"""The journal: which step of which saga is done, refused, undone or barred at one participant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ordersaga.batch import SagaId
from ordersaga.database import Cursor
from ordersaga.outbox import next_pack
from ordersaga.sql import among, array
from ordersaga.sql import journal as journal_sql

LATE = frozenset({"barred", "refused", "undone"})
"""States in which a forward signal is late, because its saga is being rolled back."""
UNCOMPENSATED = frozenset({"undoing", "cornered"})


class Entry(NamedTuple):
    """One row of the journal."""

    saga: SagaId
    step: str
    state: str
    attempts: int
    pack_id: int | None


class BeginResult(NamedTuple):
    """The sagas for which a step may run in this transaction, and the rows of the others.

    :ivar runnable: the sagas for which the caller must now run the step; their rows are ``done``.
    :ivar attempts: the largest number of this attempt among them, from 1.
    :ivar found: the rows of the sagas for which the step may not run.
    """

    pack_id: int
    runnable: list[SagaId]
    attempts: int
    found: dict[SagaId, Entry]


class Journal:
    """The journal of one participant, inside one open transaction."""

    def __init__(self, cursor: Cursor, participant: str) -> None:
        self._cursor = cursor
        self._mine = f"{participant}."
        self._refusal_key = f"{participant}.refusal"

    def begin_step(self, step: str, sagas: Sequence[SagaId]) -> BeginResult:
        """Insert a ``done`` row for each saga where the step has no row (docs/PROTOCOL.md, rule 1).

        Rows that are ``retrying`` also become ``done``. The caller then runs the step for ``runnable`` in the
        same transaction; if the step raises, the rollback removes the rows. The insert waits for concurrent
        transactions that insert the same rows.
        """
        self._cursor.execute(journal_sql.BEGIN, [step, array(sagas)])
        rows = self._cursor.fetchall()
        runnable = [saga for saga, _ in rows]
        pack_id = rows[0][1] if rows else next_pack(self._cursor)
        if len(runnable) == len(sagas):
            return BeginResult(pack_id, runnable, 1, {})
        found = self.lock(step, sorted(set(sagas) - set(runnable)))
        again = [e for e in found.values() if e.state == "retrying"]
        if again:
            self._cursor.execute(journal_sql.RESUME, [pack_id, step, *among(e.saga for e in again)])
            runnable = sorted([*runnable, *(e.saga for e in again)])
        attempts = 1 + max((e.attempts for e in again), default=0)
        return BeginResult(
            pack_id, runnable, attempts, {s: e for s, e in found.items() if e.state != "retrying"}
        )

    def lock(self, step: str, sagas: Sequence[SagaId]) -> dict[SagaId, Entry]:
        """Lock the committed rows of one step and return them by saga."""
        self._cursor.execute(journal_sql.LOCK, [step, *among(sagas)])
        return {saga: Entry(saga, step, state, n, pack) for saga, state, n, pack in self._cursor.fetchall()}

    def set(self, step: str, state: str, sagas: Sequence[SagaId]) -> None:
        """Change the state of one step's rows."""
        if sagas:
            self._cursor.execute(journal_sql.SET_STATE, [state, step, *among(sagas)])

    def count_attempt(self, step: str, saga: SagaId) -> int | None:
        """Record a failed attempt; return the number of attempts, or None when the step may no longer run."""
        self._cursor.execute(journal_sql.COUNT_ATTEMPT, [saga, step])
        row = self._cursor.fetchone()
        return None if row is None else int(row[0])

    def give_up(self, step: str, saga: SagaId, pack_id: int) -> None:
        """Change ``retrying`` to ``refused`` (docs/PROTOCOL.md, rule 2), so that a late copy does not run."""
        self._cursor.execute(journal_sql.GIVE_UP, [pack_id, saga, step])

    def record_refusal(self, sagas: Sequence[SagaId]) -> list[SagaId]:
        """Record that the participant received a refusal; return the sagas for which it is the first."""
        self._cursor.execute(journal_sql.RECORD_REFUSAL, [self._refusal_key, array(sagas)])
        return [saga for (saga,) in self._cursor.fetchall()]

    def bar(self, sagas: Sequence[SagaId], steps: Sequence[str]) -> list[Entry]:
        """Bar every step that has not run (no row, or ``retrying``), and lock and return all rows.

        These include rows of steps that this release does not declare.
        """
        self._cursor.execute(journal_sql.BAR, [array(sagas), list(steps)])
        entries = self.lock_all(sagas)
        for step in sorted({e.step for e in entries}):
            self.set(step, "barred", [e.saga for e in entries if e.step == step and e.state == "retrying"])
            self.set(step, "cornered", [e.saga for e in entries if e.step == step and e.state == "intent"])
        moved = {"retrying": "barred", "intent": "cornered"}
        return [e._replace(state=moved.get(e.state, e.state)) for e in entries]

    def lock_all(self, sagas: Sequence[SagaId]) -> list[Entry]:
        """Lock and return the committed rows of these sagas' steps at this participant."""
        self._cursor.execute(journal_sql.LOCK_ALL, [*among(sagas), self._mine])
        return [Entry(*row) for row in self._cursor.fetchall()]

    def read(self, sagas: Sequence[SagaId]) -> list[Entry]:
        """All rows of these sagas at this participant, including the row ``heard`` of a refusal."""
        self._cursor.execute(journal_sql.READ_ALL, [*among(sagas), self._mine])
        return [Entry(*row) for row in self._cursor.fetchall()]

    def count_undo_attempt(self, saga: SagaId, steps: Sequence[str]) -> int:
        """Record a failed undo; return the largest number of attempts, 0 when no row is ``undoing``."""
        self._cursor.execute(journal_sql.COUNT_UNDO_ATTEMPT, [saga, list(steps)])
        return max((n for (n,) in self._cursor.fetchall()), default=0)

    def add_dead_letter(
        self,
        participant: str,
        saga: SagaId,
        step: str,
        topic: str,
        signal: str,
        error: BaseException,
        trace: str,
        attempts: int,
    ) -> None:
        """Store a signal whose step was given up, for operators."""
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        values = [participant, saga, step, topic, signal, name, clean(str(error)), clean(trace), attempts]
        self._cursor.execute(journal_sql.DEAD_LETTER, values)


def clean(text: str, limit: int = 20_000) -> str:
    """Cut ``text`` to ``limit`` characters and replace what PostgreSQL cannot store."""
    return text[:limit].replace("\x00", "\\x00").encode(errors="replace").decode()
