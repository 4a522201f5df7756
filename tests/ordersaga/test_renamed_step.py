"""A step is renamed while sagas are in flight: it does not run twice, and keeps its undo."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from ordersaga import Batch, Choreography, DeadlinePassed, Participant, Refusal, Saga, Signal
from ordersaga.contrib.sqlalchemy import SQLAlchemyDatabase
from ordersaga.operations import Operations
from ordersaga.testing import Rehearsal
from tests.ordersaga.sample_saga import Trip, refused
from tests.ordersaga.toy_saga import EFFECT, toy_database
from tests.support.postgres import Postgres


class Ordered(Signal): ...


class Reserved(Signal): ...


class Agreed(Signal): ...


class Expired(Refusal): ...


SAGA = Saga("renamed", Ordered, "desk", ("desk", "shelf"), timedelta(minutes=5), ends=(Agreed,))


class Release:
    """A release of the participant whose one step has this function name and these options."""

    def __init__(self, database: SQLAlchemyDatabase, function: str, **options: Any) -> None:
        self.database = database
        desk, shelf = Participant("desk", database=database), Participant("shelf", database=database)

        def reserve(ordered: Ordered, saga: str, db: Any) -> Reserved:
            change(db, saga, 1)
            return Reserved()

        def release(reserved: Reserved, saga: str, db: Any) -> None:
            change(db, saga, -1)

        reserve.__name__ = function
        self.step = shelf.step(reserve, **options)
        self.step.undo(release)

        @desk.step(decides=True)
        def agree(reserved: Batch[Reserved]) -> Batch[Agreed]:
            return Batch({saga: Agreed() for saga in reserved})

        @desk.step(decides=True)
        def expire(passed: Batch[DeadlinePassed]) -> Batch[Expired]:
            return Batch({saga: Expired() for saga in passed})

        self.rehearsal = Rehearsal(Choreography(SAGA, [desk, shelf]))

    def row(self, sql: str, saga: str) -> Any:
        with self.database.begin() as tx:
            tx.cursor.execute(sql, [saga])
            return tx.cursor.fetchone()

    def reserved_units(self, saga: str) -> int:
        """Count what is reserved for a saga."""
        return int(self.row("SELECT coalesce(sum(change), 0) FROM effect WHERE saga_id = %s", saga)[0])

    def saga_status(self, saga: str) -> tuple[str, str | None]:
        """Return the status of a saga, and why it needs attention."""
        status, attention = self.row("SELECT status, attention FROM ordersaga_saga WHERE id = %s", saga)
        return status, attention


def change(db: Any, saga: str, by: int) -> None:
    db.execute(text(EFFECT), {"step": "reserve", "change": by, "sagas": [saga]})


@pytest.fixture
def database(postgres: Postgres) -> Iterator[SQLAlchemyDatabase]:
    with toy_database(postgres, "renamed") as url:
        database = SQLAlchemyDatabase(url)
        yield database
        database.discard()


def reserved(database: SQLAlchemyDatabase) -> tuple[str, Any]:
    """Create a saga whose reservation an earlier release has made; return it and its envelope."""
    first = Release(database, "reserve")
    with database.begin() as tx:
        saga = SAGA.start(Ordered(), db=tx.db)
    first.rehearsal.collect()
    [queued] = first.rehearsal.waiting("shelf", "signal.Ordered")
    first.rehearsal.deliver(queued)
    assert first.reserved_units(saga) == 1
    return saga, queued


def expire(release: Release, saga: str) -> None:
    """Let the deadline pass before the initiator receives the reservation."""
    rehearsal = release.rehearsal
    rehearsal.make_timers_due("deadline", saga)
    rehearsal.collect()
    [late] = rehearsal.waiting("desk", "signal.DeadlinePassed")
    rehearsal.deliver(late)
    rehearsal.run()


def test_a_renamed_step_does_not_run_again_and_is_undone(database: SQLAlchemyDatabase) -> None:
    saga, queued = reserved(database)
    now = Release(database, "hold", formerly="reserve")

    now.rehearsal.deliver(queued)
    assert now.reserved_units(saga) == 1
    expire(now, saga)

    assert now.reserved_units(saga) == 0
    assert now.saga_status(saga) == ("ROLLED_BACK", None)


def test_a_step_with_a_name_of_its_own_may_have_another_function(database: SQLAlchemyDatabase) -> None:
    saga, queued = reserved(database)
    now = Release(database, "hold", name="reserve")

    now.rehearsal.deliver(queued)

    assert now.reserved_units(saga) == 1
    assert (now.step.key, now.step.task) == ("shelf.reserve", "shelf.reserve")


def test_an_undeclared_done_step_keeps_the_saga_open(
    database: SQLAlchemyDatabase,
) -> None:
    saga, _ = reserved(database)
    without = Release(database, "hold")

    expire(without, saga)

    status, attention = without.saga_status(saga)
    assert (status, without.reserved_units(saga)) == ("ROLLING_BACK", 1)
    assert attention is not None
    assert "shelf.reserve is done and no longer declared" in attention

    repaired = Release(database, "hold", formerly="reserve")
    with database.begin() as tx:
        assert Operations(SAGA).resume(
            saga, db=tx.db, by="staff 1", reason="the release that can undo it is deployed"
        )
    repaired.rehearsal.run()

    assert repaired.reserved_units(saga) == 0
    assert repaired.saga_status(saga) == ("ROLLED_BACK", None)


def test_the_task_has_the_new_name_and_the_journal_the_first(database: SQLAlchemyDatabase) -> None:
    step = Release(database, "hold", formerly="reserve").step

    assert (step.task, step.key) == ("shelf.hold", "shelf.reserve")


def test_a_journal_name_of_another_step_is_refused() -> None:
    trip = Trip()

    def other(agreed: Ordered) -> None: ...

    refused(lambda: trip.hotel.step(formerly="book")(other), "hotel.other", "hotel.book")


@pytest.mark.parametrize("name", ["", "two words", "with.dot", "a" * 61])
def test_a_name_that_is_not_an_identifier_is_refused(name: str) -> None:
    def other(agreed: Ordered) -> None: ...

    refused(lambda: Trip().hotel.step(name=name)(other), "hotel.", "0-9 and _")
