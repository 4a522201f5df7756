"""One open transaction of one participant: the journal, the outbox and, at the initiator, the sagas' rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from ordersaga.batch import SagaId
from ordersaga.choreography import Choreography
from ordersaga.database import Transaction
from ordersaga.envelope import SignalRow
from ordersaga.journal import UNCOMPENSATED, Entry, Journal, clean
from ordersaga.outbox import Outbox, cancel_timers, read_emitted
from ordersaga.participant import Participant
from ordersaga.signal import Refusal, Signal
from ordersaga.sql import array
from ordersaga.sql import saga as saga_sql

VALIDATED_KEY = re.compile(r"^[\w.:-]{1,64}$")
UNVALIDATED_KEY = re.compile(r"^[\d._/-]{1,64}$")
"""Values of the saga's ``log_key`` that may be logged: identifiers from a validated signal, and only numbers
from a signal that was not validated here.
"""


class RollbackCause(NamedTuple):
    """Why a saga is rolled back.

    :ivar refusal: the name of the refusal.
    :ivar refused_by: the participant that emitted it.
    :ivar data: ``[version, data]`` of the refusal as JSON.
    """

    refusal: str
    refused_by: str
    reason: str
    data: str

    @classmethod
    def by(cls, signal: Signal, participant: str) -> RollbackCause:
        """The cause for a refusal that ``participant`` is emitting."""
        reason = clean(signal.reason()) if isinstance(signal, Refusal) else ""
        return cls(
            type(signal).__name__, participant, reason, f"[{type(signal).version},{signal.model_dump_json()}]"
        )


class Context:
    """What the rules of the protocol work on: one open transaction, its journal, outbox and sagas."""

    def __init__(
        self,
        tx: Transaction,
        participant: Participant,
        choreography: Choreography,
        outbox: Outbox,
        topic: str = "",
    ) -> None:
        """:param topic: of the signals that are handled."""
        self.tx, self.participant, self.choreography, self.outbox = tx, participant, choreography, outbox
        self.topic, self.cursor = topic, tx.cursor

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.cursor, self.participant.name)

    @property
    def initiates(self) -> bool:
        """Whether this participant's database holds the saga's status."""
        return self.participant.name == self.choreography.saga.initiator

    @cached_property
    def keys(self) -> list[str]:
        """The journal keys of this participant's steps."""
        return sorted(step.key for step in self.participant.steps.values())

    def is_undeclared(self, entry: Entry) -> bool:
        """Whether an effect must be undone whose step or undo this release does not declare."""
        if entry.state == "undoing":
            return all(
                step.key != entry.step for step in self.participant.steps.values() if step.declared_undo
            )
        return entry.state == "done" and entry.step not in self.keys

    def by_saga(self, rows: Sequence[SignalRow[Any]]) -> dict[SagaId, SignalRow[Any]]:
        """One row for each saga; a copy marked *again* is preferred to an ordinary one."""
        found: dict[SagaId, SignalRow[Any]] = {}
        for row in rows:
            if row.saga not in found or row.again > found[row.saga].again:
                found[row.saga] = row
        return found

    # -- the log

    def log_fields(self, row: SignalRow[Any], *, look_up: bool = False) -> dict[str, str]:
        """The log fields of a saga: its id, and the value of its ``log_key`` if known.

        :param look_up: query the database if ``row`` does not contain the key; for rare events only.
        """
        fields, name = log_fields_of(self.choreography, row), self.choreography.saga.log_key
        if look_up and name is not None and name not in fields:
            packs = [entry.pack_id for entry in self.journal.read([row.saga]) if entry.pack_id is not None]
            if self.initiates:
                self.cursor.execute(saga_sql.BEGUN_WITH, [row.saga])
                packs += [pack for (pack,) in self.cursor.fetchall()]
            emitted = read_emitted(self.cursor, {row.saga: packs})[row.saga]
            found = (_fields(row.saga, name, other.data.get(name), VALIDATED_KEY) for _, other in emitted)
            return next((each for each in found if name in each), fields)
        return fields

    # -- the saga's row

    def lock_sagas(self, sagas: Iterable[SagaId]) -> dict[SagaId, str]:
        """Lock the rows of the sagas and return their status; unknown ones are left out."""
        self.cursor.execute(saga_sql.LOCK, [array(sorted(sagas))])
        return dict(self.cursor.fetchall())

    def confirm(self, sagas: Sequence[SagaId], *, complete: bool) -> None:
        """PENDING → CONFIRMED for sagas that this transaction has locked as PENDING."""
        if sagas:
            self.cursor.execute(saga_sql.CONFIRM, [complete, array(sagas)])
            cancel_timers(self.cursor, list(sagas), "deadline", *(["watchdog"] if complete else []))

    def roll_back(self, causes: dict[SagaId, RollbackCause]) -> None:
        """PENDING or CONFIRMED → ROLLING_BACK for locked sagas; others stay."""
        if causes:
            columns = [
                list(c) for c in zip(*((saga, *cause) for saga, cause in sorted(causes.items())), strict=True)
            ]
            self.cursor.execute(saga_sql.ROLL_BACK, columns)
            cancel_timers(self.cursor, list(causes), "deadline")

    # -- answers

    def answer(self, received: dict[SagaId, SignalRow[Any]]) -> None:
        """Emit answers; the initiator also records its own, and closes sagas that all have answered."""
        for saga, row in sorted(received.items()):
            self.outbox.answer(saga, row)
        if self.initiates and received:
            self.record_answers([(saga, self.participant.name) for saga in received], received)

    def record_answers(
        self, answers: Sequence[tuple[SagaId, str]], received: dict[SagaId, SignalRow[Any]]
    ) -> None:
        """Record answers at any status, and close sagas that all have answered (docs/PROTOCOL.md, rule 7)."""
        # Lock first: of two transactions that add the last two answers, the second must see the first's.
        known = self.lock_sagas(saga for saga, _ in answers)
        if not known:
            return
        self.cursor.execute(saga_sql.ANSWER, [[s for s, _ in answers], [p for _, p in answers]])
        new = {saga for (saga,) in self.cursor.fetchall()}
        if new:
            self.cursor.execute(saga_sql.MOVED, [array(sorted(new))])
        self.close(known, received)

    def close(self, sagas: Iterable[SagaId], received: dict[SagaId, SignalRow[Any]]) -> None:
        """ROLLING_BACK → ROLLED_BACK where every participant of the saga's list has answered."""
        self.cursor.execute(saga_sql.CLOSE, [array(sorted(sagas))])
        closed = sorted(saga for (saga,) in self.cursor.fetchall())
        if closed:
            cancel_timers(self.cursor, closed, "watchdog", "deadline")
        for saga in closed:
            self.outbox.notice(saga, received.get(saga), "rolled back")

    def compensated(self, sagas: Sequence[SagaId]) -> tuple[set[SagaId], dict[SagaId, list[int]]]:
        """Find the compensated sagas among ``sagas``: refused, and nothing is being undone here.

        :returns: them, and the packs of the refusals that this participant emitted, by saga.
        """
        refused_sagas: set[SagaId] = set()
        unsettled: set[SagaId] = set()
        packs: dict[SagaId, list[int]] = {}
        for entry in self.journal.read(sagas):
            if entry.state == "heard":
                refused_sagas.add(entry.saga)
            elif entry.state in UNCOMPENSATED or self.is_undeclared(entry):
                unsettled.add(entry.saga)
            elif entry.state == "refused" and entry.pack_id is not None:
                packs.setdefault(entry.saga, []).append(entry.pack_id)
        return refused_sagas - unsettled, packs


def log_fields_of(choreography: Choreography, row: SignalRow[Any]) -> dict[str, str]:
    """As :meth:`Context.log_fields`, from the row alone."""
    data, name = row.data, choreography.saga.log_key
    if isinstance(data, Signal):
        return _fields(row.saga, name, getattr(data, name or "", None), VALIDATED_KEY)
    return _fields(row.saga, name, data.get(name) if isinstance(data, dict) else None, UNVALIDATED_KEY)


def _fields(saga: SagaId, name: str | None, known: Any, allowed: re.Pattern[str]) -> dict[str, str]:
    return {
        "saga": saga,
        **({name: known} if name and isinstance(known, str) and allowed.match(known) else {}),
    }
