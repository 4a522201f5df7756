"""The contract of a saga: what begins it, who takes part, how long it may take. Starting one needs no
participant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from ordersaga.batch import SagaId
from ordersaga.database import Cursor, address_of, borrow
from ordersaga.envelope import FULL_BYTES, FULL_SIGNALS, PackHeader, encoded_size
from ordersaga.errors import DeclarationError, UnknownSaga, WrongDatabase
from ordersaga.ids import new_id
from ordersaga.outbox import WATCHDOG, Outbox, next_pack, timer_text
from ordersaga.signal import DeadlinePassed, Refusal, Signal, topic_of
from ordersaga.sql import array
from ordersaga.sql import saga as sql
from ordersaga.trace import check_traceparent

_CHECKED: set[tuple[object, ...]] = set()
"""Initiators and the databases that were found to be theirs."""


@dataclass(frozen=True)
class Watchdog:
    """When a saga that does not move is reminded of what it waits for: after ``first``, then twice as long,
    up to ``cap``.

    After ``rounds`` vain reminders it *needs attention*; the reminders go on.
    """

    first: timedelta = timedelta(seconds=30)
    cap: timedelta = timedelta(minutes=10)
    rounds: int = 5

    def wait(self, rounds: int) -> timedelta:
        """How long to wait after so many vain rounds."""
        return min(self.first * (1 << min(rounds, 30)), self.cap)


class SagaStatus(NamedTuple):
    """How a saga stands: ``PENDING``, ``CONFIRMED``, ``ROLLING_BACK`` or ``ROLLED_BACK``, and why it was
    turned round.

    Confirmed sagas have ended once their last step is done. ``attention`` says why a person must look.
    """

    status: str
    ended: bool
    reason: str | None
    attention: str | None


@dataclass(frozen=True)
class Saga:
    """What every participant agrees on before any step is declared.

    :ivar name: of the kind of saga, such as ``order``.
    :ivar begins_with: the signal that starts one.
    :ivar initiator: the participant whose database holds the saga's status.
    :ivar participants: names of those with steps, the initiator among them; frozen into each saga's row when
        it starts.
    :ivar deadline: after which :class:`DeadlinePassed` is said to the initiator, by its database's clock.
    :ivar accepts: signals that the outside may say to a saga under way, such as a customer's wish to cancel.
    :ivar ends: signals that nobody needs to hear.
    :ivar log_key: the field of its signals by which people know a saga, such as ``order``; lines of the log
        carry it where a signal at hand does.
    """

    name: str
    begins_with: type[Signal]
    initiator: str
    participants: Sequence[str]
    deadline: timedelta
    accepts: Sequence[type[Signal]] = ()
    ends: Sequence[type[Signal]] = ()
    watchdog: Watchdog = field(default_factory=Watchdog)
    log_key: str | None = None

    def __post_init__(self) -> None:
        if self.initiator not in self.participants:
            raise DeclarationError(
                f"saga {self.name}",
                f"its initiator {self.initiator} is not in its participants",
                "Add it to the list",
            )
        if len(set(self.participants)) < len(self.participants):
            raise DeclarationError(
                f"saga {self.name}", "lists a participant twice", "List each participant once"
            )
        if self.deadline <= timedelta(0):
            raise DeclarationError(f"saga {self.name}", "has no deadline", "Give it a positive deadline")
        if issubclass(self.begins_with, Refusal):
            raise DeclarationError(f"saga {self.name}", "begins with a refusal", "Begin with another signal")
        if self.log_key is not None and self.log_key not in self.begins_with.model_fields:
            fault = f"has the log_key {self.log_key}, which is no field of {self.begins_with.__name__}"
            raise DeclarationError(f"saga {self.name}", fault, "Name a field of the signal that begins it")

    def start(
        self, signal: Signal, *, db: object, saga: SagaId | None = None, trace: str | None = None
    ) -> SagaId:
        """Start one saga in the transaction open on ``db``: its row, its first signal, its deadline, its
        watchdog.

        :param db: a Django connection, SQLAlchemy session or psycopg connection of the initiator's database.
        :param saga: an id of your own (a UUID's text; version 7 keeps the tables quick), else a new one.
        :param trace: a W3C ``traceparent`` that every later signal of the saga carries on. One that came from
            outside is checked before, with :func:`ordersaga.trace.is_traceparent`, and left out if it is not
            valid.
        :returns: the saga's id.
        :raises ValueError: when ``saga`` is not a UUID, or ``trace`` not a traceparent.
        :raises NoTransaction: when no transaction is open.
        :raises WrongDatabase: when ``db`` leads to a database of other participants.
        :raises SignalTooLarge: when the signal is larger than an envelope may be.
        """
        saga = new_id() if saga is None else str(UUID(saga))
        self.start_many({saga: signal}, db=db, trace=trace)
        return saga

    def start_many(self, signals: Mapping[SagaId, Signal], *, db: object, trace: str | None = None) -> None:
        """Start many sagas at once, as :meth:`start` does; keys are their ids.

        :raises ValueError: as :meth:`start`, and when two keys are the same UUID.
        """
        for signal in signals.values():
            self._check(signal)
        by_id = {str(UUID(saga)): signal for saga, signal in signals.items()}
        if len(by_id) < len(signals):
            raise ValueError("two keys of `signals` are the same UUID: give each saga its own id")
        cursor = borrow(db, planned=True)
        self._check_database(cursor)
        rest = iter(sorted(by_id.items()))
        while part := dict(islice(rest, FULL_SIGNALS)):
            self._start(cursor, part, trace)

    def _start(self, cursor: Cursor, signals: Mapping[SagaId, Signal], trace: str | None) -> None:
        """Start these sagas with one pack, or with several where it would be too large."""
        values = self._beginning(signals, trace)
        if len(signals) > 1 and encoded_size(str(values["payload"])) > FULL_BYTES:
            rest = iter(signals.items())
            while part := dict(islice(rest, (len(signals) + 1) // 2)):
                self._start(cursor, part, trace)
            return
        cursor.execute(sql.START, values)

    def start_with(
        self,
        writing: str,
        values: Mapping[str, object],
        signal: Callable[[str], Signal],
        *,
        db: object,
        saga: SagaId,
        trace: str | None = None,
    ) -> tuple[Any, ...] | None:
        """Start one saga, as :meth:`start` does, in one statement with the writing of what it is about.

        So it takes one round trip instead of those of two statements and a transaction: where none is open on
        ``db``, the statement is one by itself.

        :param writing: SQL, one or more CTEs. The one named ``begun`` gives a row, and the saga starts; or
            none, as when ``ON CONFLICT`` has passed it over, and nothing starts. It has a column ``number``,
            such as a generated key.
        :param values: of the named parameters (``%(name)s``) in ``writing``.
        :param signal: gives the signal. It is called with a text that stands for ``number``, which is not
            known yet.
        :param saga: the saga's id, a new UUID's text.
        :returns: the row of ``begun``.
        :raises ValueError: as :meth:`start`, and when one of ``values`` has the name of one of the engine's
            own.
        :raises NoTransaction: when none is open on a SQLAlchemy session or connection, which would begin one
            of its own.
        """
        mark, saga = new_id(), str(UUID(saga))
        first = signal(mark)
        self._check(first)
        own = {**self._beginning({saga: first}, trace), "mark": mark}
        if taken := own.keys() & values.keys():
            raise ValueError(
                f"the engine has parameters of its own named {', '.join(sorted(taken))}: rename yours"
            )
        cursor = borrow(db, planned=True, alone=True)
        self._check_database(cursor)
        cursor.execute(sql.start_with(writing), {**values, **own})
        begun = cursor.fetchone()
        return None if begun is None else tuple(begun[:-1])

    def _check(self, signal: Signal) -> None:
        if type(signal) is not self.begins_with:
            raise TypeError(
                f"saga {self.name} begins with {self.begins_with.__name__}, not {type(signal).__name__}"
            )

    def _check_database(self, cursor: Cursor) -> None:
        """Ask once for each process and database whose it is; one that names nobody is not refused."""
        asked = (self.initiator, *address_of(cursor))
        if asked in _CHECKED:
            return
        cursor.execute(sql.PARTICIPANTS)
        names = [name for (name,) in cursor.fetchall()]
        if names and self.initiator not in names:
            raise WrongDatabase(
                f"saga {self.name} begins in the database of {self.initiator}, and this is that of {', '.join(names)}: "
                f"pass a connection of {self.initiator}"
            )
        _CHECKED.add(asked)

    def _beginning(self, signals: Mapping[SagaId, Signal], trace: str | None) -> dict[str, object]:
        """The parameters of the statements that start sagas."""
        check_traceparent(trace)
        outbox = Outbox(PackHeader(self.initiator, None, None, 1), notices=False)
        for saga, signal in signals.items():
            outbox.emit(saga, signal, trace=trace)
        topic = topic_of(self.begins_with)
        payload, count = outbox.emitted_pack(topic)
        return {
            "name": self.name,
            "initiator": self.initiator,
            "participants": list(self.participants),
            "sagas": array(signals),
            "topic": topic,
            "payload": payload,
            "signals": count,
            "timer": timer_text(self.initiator),
            "deadline_topic": topic_of(DeadlinePassed),
            "deadline": self.deadline,
            "watchdog_topic": WATCHDOG,
            "watchdog": self.watchdog.first,
        }

    def send(self, saga: SagaId, signal: Signal, *, db: object) -> None:
        """Say something to a saga from outside, in the transaction open on ``db`` (of the initiator's
        database).

        :raises TypeError: when the saga does not listen to it.
        :raises UnknownSaga: when the saga is not in this database.
        :raises NoTransaction: when no transaction is open.
        """
        if type(signal) not in self.accepts:
            raise TypeError(
                f"saga {self.name} does not accept {type(signal).__name__} from outside: list it in `accepts`"
            )
        cursor, saga = borrow(db), str(UUID(saga))
        cursor.execute(sql.STANDING, [saga])
        if cursor.fetchone() is None:
            raise UnknownSaga(
                f"this database has no saga {saga}: check the id, and that `db` leads to the database of {self.initiator}"
            )
        outbox = Outbox(PackHeader(self.initiator, None, None, 1), notices=False)
        outbox.emit(saga, signal)
        outbox.flush(cursor, next_pack(cursor))

    def status(self, saga: SagaId, *, db: object) -> SagaStatus | None:
        """How a saga stands, by the initiator's database; None when it is not there.

        :raises NoTransaction: when no transaction is open on ``db``.
        """
        cursor = borrow(db)
        cursor.execute(sql.STANDING, [str(UUID(saga))])
        found = cursor.fetchone()
        return None if found is None else SagaStatus(*found)
