"""Every transaction locks rows in the order of saga and step, so that no two deadlock."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from types import ModuleType
from typing import NamedTuple
from unittest.mock import patch

import psycopg2
import pytest

from ordersaga.database import Transaction
from ordersaga.envelope import PackHeader, SignalRow
from ordersaga.ids import new_id
from ordersaga.outbox import Outbox
from ordersaga.protocol import watchdog
from ordersaga.protocol.context import Context
from ordersaga.sql import journal as journal_sql
from ordersaga.sql import saga as saga_sql
from tests.ordersaga.toy_saga import CHAIN, DESK, Shape, Toy, toy_database
from tests.support.polling import eventually
from tests.support.postgres import Postgres
from tests.support.time_scale import scaled

SAGAS = 6
STEPS = ("desk.step0", "desk.step1")
HEARD = "desk.refusal"
HEAD = PackHeader(DESK, None, None, 1)

INSERT_ROW = "INSERT INTO ordersaga_journal (saga_id, step, state) VALUES (%(saga)s, %(step)s, %(state)s)"
LOCK_ROW = "SELECT 1 FROM ordersaga_journal WHERE saga_id = %(saga)s AND step = %(step)s FOR UPDATE"
LOCK_SAGA = "SELECT 1 FROM ordersaga_saga WHERE id = %(saga)s FOR UPDATE"
# Without index scans, because an index order would hide a missing ORDER BY.
HEAP_ORDER = "SET LOCAL enable_indexscan = off"
ORDER = re.compile(r" ORDER BY \w+(, \w+)?")
BLOCKING = "SELECT unnest(pg_blocking_pids(%s))"

Sagas = Sequence[str]


class Locking(NamedTuple):
    """A statement that locks rows of several sagas.

    :ivar run: executes it for the given sagas. :ivar hold: locks one of these rows in another transaction.
        :ivar steps: the journal rows that it locks of each saga; one empty name if it locks the saga's own
        row.
    """

    module: ModuleType
    name: str
    run: Callable[[Context, Sagas], object]
    hold: str
    steps: tuple[str, ...]


class LockedRow(NamedTuple):
    """A row of the journal, or of a saga if ``step`` is empty."""

    saga: str
    step: str

    @property
    def values(self) -> dict[str, str]:
        """Return the parameters of the statements above."""
        return {**self._asdict(), "state": "heard" if self.step == HEARD else "void"}


def watch(context: Context, sagas: Sagas) -> None:
    watchdog.watch(context, [SignalRow("", saga, None, 1, "", 0, None, None, {}) for saga in sagas])


LOCKINGS = [
    Locking(
        journal_sql,
        "BEGIN",
        lambda context, sagas: context.journal.begin_step(STEPS[0], sagas),
        INSERT_ROW,
        STEPS[:1],
    ),
    Locking(
        journal_sql,
        "RECORD_REFUSAL",
        lambda context, sagas: context.journal.record_refusal(sagas),
        INSERT_ROW,
        (HEARD,),
    ),
    Locking(
        journal_sql, "BAR", lambda context, sagas: context.journal.bar(sagas, STEPS[::-1]), INSERT_ROW, STEPS
    ),
    Locking(
        journal_sql, "LOCK", lambda context, sagas: context.journal.lock(STEPS[0], sagas), LOCK_ROW, STEPS[:1]
    ),
    Locking(journal_sql, "LOCK_ALL", lambda context, sagas: context.journal.lock_all(sagas), LOCK_ROW, STEPS),
    Locking(saga_sql, "LOCK", lambda context, sagas: context.lock_sagas(sagas), LOCK_SAGA, ("",)),
    Locking(saga_sql, "WATCH", watch, LOCK_SAGA, ("",)),
]


@pytest.fixture(scope="module")
def toy(postgres: Postgres) -> Iterator[Toy]:
    with toy_database(postgres, "lock_order") as url:
        toy = Toy(Shape((DESK, DESK), (True, True)), url)
        yield toy
        toy.database.discard()


def statement(locking: Locking) -> str:
    return f"{locking.module.__name__.rpartition('.')[2]}.{locking.name}"


@pytest.mark.parametrize("locking", LOCKINGS, ids=statement)
def test_rows_are_locked_in_the_order_of_saga_and_step(toy: Toy, locking: Locking):
    rows = written(toy, locking)

    assert locked(toy, locking, rows) == sorted(rows)


@pytest.mark.parametrize("locking", LOCKINGS, ids=statement)
def test_a_statement_without_an_order_is_detected(toy: Toy, locking: Locking):
    """Tests the test above."""
    rows = written(toy, locking)
    ordered = getattr(locking.module, locking.name)
    unordered = ORDER.sub("", ordered)
    assert unordered != ordered

    with patch.object(locking.module, locking.name, unordered):
        assert locked(toy, locking, rows) != sorted(rows)


def written(toy: Toy, locking: Locking) -> list[LockedRow]:
    """Create sagas and the rows to lock, last to first, unless the statement inserts the rows itself."""
    sagas = sorted((new_id() for _ in range(SAGAS)), reverse=True)
    rows = [LockedRow(saga, step) for saga in sagas for step in reversed(locking.steps)]
    with toy.database.begin() as tx:
        for number, saga in enumerate(sagas):
            toy.saga.start(CHAIN[0](number=number), db=tx.db, saga=saga)
        if locking.hold == LOCK_ROW:
            for row in rows:
                tx.cursor.execute(INSERT_ROW, row.values)
    return rows


def locked(toy: Toy, locking: Locking, rows: Sequence[LockedRow]) -> list[LockedRow]:
    """Return the order in which the statement locks these rows, given their sagas last to first.

    Another transaction holds each row until the statement waits for it.
    """
    order = []
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        worker = stack.enter_context(closing(psycopg2.connect(toy.database.dsn)))
        cursor = worker.cursor()
        cursor.execute(HEAP_ORDER)
        holders = {}
        for row in rows:
            holder = stack.enter_context(closing(psycopg2.connect(toy.database.dsn)))
            holder.cursor().execute(locking.hold, row.values)
            holders[holder.info.backend_pid] = row, holder
        context = Context(
            Transaction(None, cursor), toy.participants[DESK], toy.choreography, Outbox(HEAD, notices=False)
        )
        done = pool.submit(locking.run, context, list(dict.fromkeys(row.saga for row in rows)))
        waits_for = partial(toy.rows, BLOCKING, worker.info.backend_pid)
        while holders:
            [pid] = eventually(
                lambda: holders.keys() & {pid for (pid,) in waits_for()}, 20, "a wait for a row"
            )
            row, holder = holders.pop(pid)
            order.append(row)
            holder.close()
        done.result(scaled(20))
    return order
