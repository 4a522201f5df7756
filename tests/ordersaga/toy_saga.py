"""Toy sagas on a real database: a chain of steps over some participants, with effects that can be counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg2
from sqlalchemy import text

from ordersaga import Batch, Choreography, DeadlinePassed, Participant, Refusal, Retry, Saga, Signal, Watchdog
from ordersaga.contrib.sqlalchemy import SQLAlchemyDatabase
from ordersaga.database import Transaction
from ordersaga.ids import new_id
from ordersaga.sql import schema
from ordersaga.step import Step
from tests.support.postgres import Postgres

EFFECT = """
INSERT INTO effect (saga_id, step, change)
SELECT saga, :step, :change FROM unnest(CAST(:sagas AS uuid[])) AS saga
"""
DESK = "desk"
LISTEN = "listen"
"""The prefix of the names of listening ends."""


class Number(Signal):
    """A signal with the number of its saga, by which a plan selects what fails."""

    number: int


CHAIN: list[type[Number]] = [type(f"Heard{n}", (Number,), {"__module__": __name__}) for n in range(6)]
REFUSALS: list[type[Refusal]] = [type(f"Refused{n}", (Refusal,), {"__module__": __name__}) for n in range(6)]


class Confirmed(Number): ...


class Shipped(Number): ...


class Aside(Number):
    """A step may return this instead of the chain's next signal. No step consumes it."""


class Expired(Refusal): ...


@dataclass(frozen=True)
class Plan:
    """What fails at one step for one saga."""

    failures: int = 0
    """How often the step raises before it succeeds."""
    refuses: bool = False
    undo_failures: int = 0
    emits: str = "next"
    """With ``aside`` or ``nothing`` the saga does not continue, and its deadline ends it."""


@dataclass(frozen=True)
class Shape:
    """A choreography: the owner of each step, which steps take batches, and whether there is a pivot."""

    owners: tuple[str, ...]
    batched: tuple[bool, ...]
    ships: str | None = None
    plans: dict[tuple[str, int], Plan] = field(default_factory=dict)
    max_signals: int | None = None
    """For the first step."""
    listeners: tuple[tuple[str, int], ...] = ()
    """Owner and position of the listening ends: each consumes the chain's signal of that position."""


class Raised(Exception):
    """Raised by a step as its plan requires."""


class ErrorRecordingDatabase(SQLAlchemyDatabase):
    """A database that records why its transactions were rolled back."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.errors: list[Exception] = []

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        try:
            with super().begin() as tx:
                yield tx
        except Exception as error:
            self.errors.append(error)
            raise


class Toy:
    """The saga of a shape, in a database."""

    def __init__(self, shape: Shape, url: str) -> None:
        self.shape, self.database = shape, ErrorRecordingDatabase(url)
        self._failures = Counter({key: plan.failures for key, plan in shape.plans.items()})
        self._undo_failures = Counter({key: plan.undo_failures for key, plan in shape.plans.items()})
        names = {
            DESK,
            *shape.owners,
            *(owner for owner, _ in shape.listeners),
            *([shape.ships] if shape.ships else []),
        }
        self.participants = {name: Participant(name, database=self.database) for name in sorted(names)}
        for n, (owner, batched) in enumerate(zip(shape.owners, shape.batched, strict=True)):
            self._step(owner, f"step{n}", CHAIN[n], CHAIN[n + 1], refusal=REFUSALS[n], batched=batched)
        self._step(DESK, "confirm", CHAIN[len(shape.owners)], Confirmed, decides=True)
        if shape.ships:
            self._step(shape.ships, "ship", Confirmed, Shipped, undo=False)
            self._step(DESK, "complete", Shipped, None, undo=False)
        for owner, place in shape.listeners:
            self._step(owner, f"{LISTEN}{place}", CHAIN[place], None, undo=False)
        self._expire()
        self.saga = Saga(
            "toy",
            CHAIN[0],
            DESK,
            list(self.participants),
            timedelta(minutes=5),
            ends=(Confirmed, Aside),
            watchdog=Watchdog(),
        )
        self.choreography = Choreography(self.saga, list(self.participants.values()))

    def _step(
        self, owner: str, name: str, consumes: type[Number], message: type[Number] | None, *,
        refusal: type[Refusal] | None = None, batched: bool = False, decides: bool = False, undo: bool = True,
    ) -> None:  # fmt: skip
        def one(signal: Number, saga: str, db: Any) -> Signal | None:
            return self._do(name, message, refusal, {saga: signal}, db)[saga]

        def many(signals: Batch[Number], db: Any) -> Batch[Any]:
            return Batch(self._do(name, message, refusal, dict(signals), db))

        function = many if batched else one
        emitted: Any = message if refusal is None else message | Aside | refusal | None
        function.__name__ = name
        function.__annotations__ = {
            "signals" if batched else "signal": Batch[consumes] if batched else consumes,  # type: ignore[valid-type]
            "return": Batch[emitted] if batched else emitted,
        }
        step: Step = self.participants[owner].step(
            function,
            retry=Retry(attempts=3),
            decides=decides,
            max_signals=self.shape.max_signals if name == "step0" else None,
        )
        if undo:
            self._undo(step, name, message if refusal is None else message | Aside)

    def _undo(self, step: Step, name: str, emitted: Any) -> None:
        def undo(signal: Number, saga: str, db: Any) -> None:
            self._change(db, f"{name}", -1, [saga])
            self._raise(self._undo_failures, name, [signal])

        undo.__name__ = f"undo_{name}"
        undo.__annotations__ = {"signal": emitted, "return": None}
        step.undo(undo, retry=Retry(attempts=2))

    def _expire(self) -> None:
        def expire(passed: DeadlinePassed) -> Expired:
            return Expired()

        self.participants[DESK].step(expire, decides=True)

    def _do(
        self,
        name: str,
        message: type[Number] | None,
        refusal: type[Refusal] | None,
        signals: dict[str, Number],
        db: Any,
    ) -> dict[str, Signal | None]:
        plans = {
            saga: self.shape.plans.get((name, signal.number), Plan()) if refusal else Plan()
            for saga, signal in signals.items()
        }
        without = {saga for saga, plan in plans.items() if plan.refuses or plan.emits == "nothing"}
        self._change(db, name, 1, [saga for saga in signals if saga not in without])
        self._raise(self._failures, name, list(signals.values()))
        emitted: dict[str, Signal | None] = {}
        for saga, signal in signals.items():
            plan = plans[saga]
            if refusal and plan.refuses:
                emitted[saga] = refusal()
            elif message is None or plan.emits == "nothing":
                emitted[saga] = None
            else:
                emitted[saga] = (Aside if plan.emits == "aside" else message)(number=signal.number)
        return emitted

    def _change(self, db: Any, name: str, change: int, sagas: list[str]) -> None:
        db.execute(text(EFFECT), {"step": name, "change": change, "sagas": sagas})

    def _raise(self, failures: Counter[tuple[str, int]], name: str, signals: list[Number]) -> None:
        for signal in signals:
            if failures[name, signal.number]:
                failures[name, signal.number] -= 1
                raise Raised(name)

    def assert_all_or_nothing(self, saga: str, *, lost: bool = False) -> str:
        """Check that the saga has ended and that its effects are complete or undone; return its status.

        :param lost: whether envelopes were lost; a listening end may then have missed its signal.
        """
        [(status, ended)] = self.rows(
            "SELECT status, ended_at IS NOT NULL FROM ordersaga_saga WHERE id = %s", saga
        )
        changes = dict(
            self.rows("SELECT step, sum(change) FROM effect WHERE saga_id = %s GROUP BY step", saga)
        )
        done = self.rows("SELECT count(*) FROM effect WHERE saga_id = %s AND change > 0 GROUP BY step", saga)
        journal = dict(self.rows("SELECT step, state FROM ordersaga_journal WHERE saga_id = %s", saga))
        answers = {
            who for (who,) in self.rows("SELECT participant FROM ordersaga_answer WHERE saga_id = %s", saga)
        }
        steps = {step.key: step.name for step in self.choreography.steps if step.name != "expire"}
        listeners = {key for key, name in steps.items() if name.startswith(LISTEN)}

        assert ended
        assert {number for (number,) in done} <= {1}, "no step has its effect twice"
        assert not self.rows("SELECT 1 FROM ordersaga_outbox WHERE saga_id = %s", saga), "no timer is left"
        if status == "CONFIRMED":
            sure = steps.keys() - listeners if lost else steps.keys()
            assert {key: (journal.get(key), changes.get(steps[key])) for key in sure} == dict.fromkeys(
                sure, ("done", 1)
            )
            assert journal.keys() <= {*steps, f"{DESK}.expire"}
            assert not answers
        else:
            assert status == "ROLLED_BACK"
            assert not any(changes.get(steps[key]) for key in steps.keys() - listeners)
            assert answers == self.participants.keys()
            assert {f"{name}.refusal" for name in self.participants} <= journal.keys()
            assert not {"retrying", "undoing"} & set(journal.values())
            assert "done" not in {state for key, state in journal.items() if key not in listeners}
            assert len(journal) == len(self.choreography.steps) + len(self.participants), (
                "every step is accounted for"
            )
        return str(status)

    def is_open(self, saga: str) -> bool:
        """Return whether the saga has not ended."""
        return self.rows("SELECT ended_at IS NULL FROM ordersaga_saga WHERE id = %s", saga) == [(True,)]

    def let_wait(self, sagas: Sequence[str]) -> None:
        """Move the sagas' last move into the past, so that the watchdog re-sends what they wait for."""
        with self.database.begin() as tx:
            tx.cursor.execute(
                "UPDATE ordersaga_saga SET moved_at = now() - interval '1 day' WHERE id = ANY(%s::uuid[])",
                [sagas],
            )

    def strays(self, number: int) -> bool:
        """Return whether a step of this saga may emit a signal that no step consumes."""
        return any(plan.emits != "next" for (_, of), plan in self.shape.plans.items() if of == number)

    def start(self, count: int) -> list[str]:
        """Start ``count`` sagas, numbered from 0, in one transaction."""
        sagas = sorted(new_id() for _ in range(count))
        with self.database.begin() as tx:
            self.saga.start_many({saga: CHAIN[0](number=n) for n, saga in enumerate(sagas)}, db=tx.db)
        return sagas

    def rows(self, sql: str, *params: Any) -> list[Any]:
        """Run a query; return its rows."""
        with self.database.begin() as tx:
            tx.cursor.execute(sql, params)
            return tx.cursor.fetchall()

    def execute(self, sql: str, *params: Any) -> None:
        """Run a statement in a transaction."""
        with self.database.begin() as tx:
            tx.cursor.execute(sql, params)


@contextmanager
def toy_database(postgres: Postgres, name: str) -> Iterator[str]:
    """Create a database with the engine's tables and a table of effects; it need not survive a crash."""
    postgres.create_role("toy")
    url = postgres.create_database(name, "toy")
    with postgres.connect() as cursor:
        cursor.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        for statement in schema.create():
            cursor.execute(statement)
        cursor.execute("CREATE TABLE effect (saga_id uuid, step text, change integer)")
    connection.close()
    yield url
    postgres.drop_databases(name)


def empty_outbox(url: str) -> None:
    """Delete what an earlier example has left."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM ordersaga_outbox")
    connection.close()
