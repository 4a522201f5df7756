"""The contract of a saga: its first signal, its participants and its deadline.

Only the contract is needed to start a saga; the participants' code is not.
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
from ordersaga.sql import saga as saga_sql
from ordersaga.trace import check_traceparent

_CHECKED: set[tuple[object, ...]] = set()
"""Initiators with the databases that were verified to be theirs."""


@dataclass(frozen=True)
class Watchdog:
    """When a saga that does not move is reminded: after ``first``, then at doubled intervals up to ``cap``.

    After ``rounds`` reminders without effect the saga *needs attention*; the reminders go on.
    """

    first: timedelta = timedelta(seconds=30)
    cap: timedelta = timedelta(minutes=10)
    rounds: int = 5

    def wait(self, rounds: int) -> timedelta:
        """The interval after ``rounds`` reminders without effect."""
        return min(self.first * (1 << min(rounds, 30)), self.cap)


class SagaStatus(NamedTuple):
    """The status of a saga.

    :ivar status: ``PENDING``, ``CONFIRMED``, ``ROLLING_BACK`` or ``ROLLED_BACK``.
    :ivar ended: a confirmed saga ends when its last step is done.
    :ivar reason: why it is rolled back.
    :ivar attention: why a person must look at it.
    """

    status: str
    ended: bool
    reason: str | None
    attention: str | None


@dataclass(frozen=True)
class Saga:
    """The contract that all participants of one kind of saga share.

    :ivar name: of the kind of saga, such as ``order``.
    :ivar begins_with: the signal that starts a saga.
    :ivar initiator: the participant whose database holds the saga's status.
    :ivar participants: the names of all with steps, including the initiator; a saga's row stores them.
    :ivar deadline: the time until the initiator receives :class:`DeadlinePassed`, by its database's clock.
    :ivar accepts: signals that :meth:`send` may send to an open saga, such as a request to cancel.
    :ivar ends: signals that no step needs to consume.
    :ivar log_key: the field of the first signal that identifies a saga to people, such as ``order``; log
        events include it.
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
        """Start a saga in the open transaction of ``db``: its row, first signal, deadline and watchdog.

        :param db: a Django connection, SQLAlchemy session or psycopg connection of the initiator's database.
        :param saga: the text of a UUID; a new id by default. Version 7 keeps inserts fast.
        :param trace: a W3C ``traceparent`` that every later signal of the saga carries. Check one from
            outside with :func:`ordersaga.trace.is_traceparent` first.
        :returns: the saga's id.
        :raises ValueError: when ``saga`` is not a UUID, or ``trace`` not a traceparent.
        :raises NoTransaction: when no transaction is open.
        :raises WrongDatabase: when ``db`` is not a connection of the initiator's database.
        :raises SignalTooLarge: when the signal exceeds the limit for one signal.
        """
        saga = new_id() if saga is None else str(UUID(saga))
        self.start_many({saga: signal}, db=db, trace=trace)
        return saga

    def start_many(self, signals: Mapping[SagaId, Signal], *, db: object, trace: str | None = None) -> None:
        """Start sagas by their ids, as :meth:`start` does, with one statement for many.

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
            self._insert(cursor, part, trace)

    def _insert(self, cursor: Cursor, signals: Mapping[SagaId, Signal], trace: str | None) -> None:
        """Insert the sagas with one pack, or with several smaller ones if it is too large."""
        values = self._parameters(signals, trace)
        if len(signals) > 1 and encoded_size(str(values["payload"])) > FULL_BYTES:
            rest = iter(signals.items())
            while part := dict(islice(rest, (len(signals) + 1) // 2)):
                self._insert(cursor, part, trace)
            return
        cursor.execute(saga_sql.START, values)

    def start_with(
        self,
        ctes: str,
        values: Mapping[str, object],
        build_signal: Callable[[str], Signal],
        *,
        db: object,
        saga: SagaId,
        trace: str | None = None,
    ) -> tuple[Any, ...] | None:
        """Start a saga, as :meth:`start` does, in one statement with the application's own inserts.

        This takes one round trip. On a connection in autocommit the statement is a transaction by itself.

        :param ctes: the application's inserts: one or more CTEs without ``WITH``. The CTE ``begun`` returns a
            row with a column ``number``, such as a generated key. If it returns no row, for example after
            ``ON CONFLICT DO NOTHING``, no saga starts.
        :param values: the parameters of ``ctes``, written there as ``%(name)s``.
        :param build_signal: builds the first signal. ``number`` is not known before the statement runs, so
            this receives a placeholder text; PostgreSQL replaces it with ``number`` in the stored signal.
        :param saga: the text of a new UUID.
        :returns: the row of ``begun``; None if no saga started.
        :raises ValueError: as :meth:`start`, and when a name of ``values`` is reserved by the engine.
        :raises NoTransaction: when no transaction is open on a SQLAlchemy session or connection.
        """
        placeholder, saga = new_id(), str(UUID(saga))
        signal = build_signal(placeholder)
        self._check(signal)
        own = {**self._parameters({saga: signal}, trace), "placeholder": placeholder}
        if reserved := own.keys() & values.keys():
            raise ValueError(f"the engine has parameters named {', '.join(sorted(reserved))}: rename yours")
        cursor = borrow(db, planned=True, allow_autocommit=True)
        self._check_database(cursor)
        cursor.execute(saga_sql.start_with(ctes), {**values, **own})
        row = cursor.fetchone()
        return None if row is None else tuple(row[:-1])

    def _check(self, signal: Signal) -> None:
        if type(signal) is not self.begins_with:
            raise TypeError(
                f"saga {self.name} begins with {self.begins_with.__name__}, not {type(signal).__name__}"
            )

    def _check_database(self, cursor: Cursor) -> None:
        """Check once for each process and database that the initiator owns it, if it names its owners."""
        key = (self.initiator, *address_of(cursor))
        if key in _CHECKED:
            return
        cursor.execute(saga_sql.PARTICIPANTS)
        names = [name for (name,) in cursor.fetchall()]
        if names and self.initiator not in names:
            raise WrongDatabase(
                f"saga {self.name} begins in the database of {self.initiator}, and this is that of "
                f"{', '.join(names)}: pass a connection of {self.initiator}"
            )
        _CHECKED.add(key)

    def _parameters(self, signals: Mapping[SagaId, Signal], trace: str | None) -> dict[str, object]:
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
        """Send a signal of ``accepts`` to a saga, in the open transaction of ``db``.

        :param db: a connection of the initiator's database.
        :raises TypeError: when the signal is not in ``accepts``.
        :raises UnknownSaga: when the saga is not in this database.
        :raises NoTransaction: when no transaction is open.
        """
        if type(signal) not in self.accepts:
            raise TypeError(
                f"saga {self.name} does not accept {type(signal).__name__} from outside: list it in `accepts`"
            )
        cursor, saga = borrow(db), str(UUID(saga))
        cursor.execute(saga_sql.STATUS, [saga])
        if cursor.fetchone() is None:
            raise UnknownSaga(
                f"this database has no saga {saga}: check the id, and that `db` is a connection to the "
                f"database of {self.initiator}"
            )
        outbox = Outbox(PackHeader(self.initiator, None, None, 1), notices=False)
        outbox.emit(saga, signal)
        outbox.flush(cursor, next_pack(cursor))

    def status(self, saga: SagaId, *, db: object) -> SagaStatus | None:
        """Read a saga's status from the initiator's database; None for an unknown saga.

        :raises NoTransaction: when no transaction is open on ``db``.
        """
        cursor = borrow(db)
        cursor.execute(saga_sql.STATUS, [str(UUID(saga))])
        found = cursor.fetchone()
        return None if found is None else SagaStatus(*found)
