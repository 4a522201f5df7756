"""Read the three databases, each in one snapshot and in a separate thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from itertools import chain
from types import TracebackType
from typing import Any, Self

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from ordersaga.sessions import connect
from webapp.ops.cli.db_errors import explain_read_error
from webapp.ops.reconcile import sql
from webapp.ops.reconcile.saga_facts import MoneyFacts, OrderFacts, Rows, StockFacts
from workers.settings import DOMAINS

DATABASES: tuple[str, ...] = DOMAINS
"""In the order of their snapshots. Orders is first: a saga that has ended there has ended in the others too.
"""

FETCH = 5_000
"""Rows fetched at once; memory holds a few such batches per database."""
BATCHES = 3
SUSPECTS_AT_ONCE = 1_000
"""Sagas read again with one statement."""

Parameters = dict[str, Any] | None

# More memory for sorts, a plan for all rows instead of the first ones, and no timeout while the rows of one
# database wait for those of another.
SETTINGS = (
    "SET LOCAL work_mem = '64MB'; SET LOCAL cursor_tuple_fraction = 1; SET LOCAL jit = off; "
    "SET LOCAL idle_in_transaction_session_timeout = 0"
)

# The planner estimates 200 sagas and would hash a million; and it would read a table that was filled since
# the last ANALYZE completely for each order, instead of its index.
PLAN_BY_SAGA = "SET LOCAL enable_hashagg = off; SET LOCAL enable_seqscan = off"
DEFAULT_PLAN = "SET LOCAL enable_hashagg = on; SET LOCAL enable_seqscan = on"


class Unreadable(Exception):
    """A database cannot be read.

    :ivar database: ``orders``, ``inventory`` or ``payments``.
    """

    def __init__(self, database: str, error: Exception) -> None:
        super().__init__(explain_read_error(database, error))
        self.database = database


class Snapshot:
    """A read-only snapshot of one database."""

    def __init__(self, database: str, url: str) -> None:
        self.database = database
        try:
            self._connection = connect(url, application_name="reconcile")
            self._connection.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
            self.rows(SETTINGS + "; SELECT 1")
        except psycopg2.Error as error:
            raise Unreadable(database, error) from error

    def rows(self, statement: str, parameters: Parameters = None) -> list[Any]:
        """Return all rows of a statement that has few.

        :raises Unreadable: when the statement fails.
        """
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall()
        except psycopg2.Error as error:
            raise Unreadable(self.database, error) from error

    def facts(
        self, statement: str, parameters: Parameters = None, *, fetch: int = FETCH
    ) -> Iterator[Sequence[Any]]:
        """Yield the rows of a statement that has many, in batches of ``fetch``.

        :raises Unreadable: when the statement fails.
        """
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(PLAN_BY_SAGA)
            with self._connection.cursor(name="survey") as cursor:
                cursor.execute(statement, parameters)
                while batch := cursor.fetchmany(fetch):
                    yield batch
            with self._connection.cursor() as cursor:
                cursor.execute(DEFAULT_PLAN)
        except psycopg2.Error as error:
            raise Unreadable(self.database, error) from error

    def cancel(self) -> None:
        """Cancel the statement that runs in another thread."""
        self._connection.cancel()

    def close(self) -> None:

        self._connection.close()


class Snapshots:
    """The snapshots of all three databases. They differ in time, so a single disagreement proves nothing."""

    def __init__(self, urls: dict[str, str], grace: timedelta) -> None:
        self._stack = ExitStack()
        self._grace = grace
        self.snapshots: dict[str, Snapshot] = {}
        try:
            for database in DATABASES:
                self.snapshots[database] = snapshot = Snapshot(database, urls[database])
                self._stack.callback(snapshot.close)
        except Unreadable:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def survey(self) -> Iterator[Rows]:
        """Yield the rows of all sagas, in the order of their ids.

        :raises Unreadable: when a database cannot be read.
        """
        streams = []
        for name in DATABASES:
            stream = Prefetch(self.snapshots[name], sql.survey_sql(name), {"grace": self._grace})
            self._stack.callback(stream.close)
            streams.append(iter(stream))
        return merge_by_saga(*streams)

    def reread(self, sagas: Iterable[str]) -> Iterator[Rows]:
        """Yield the rows of some sagas."""
        ids = sorted(sagas)
        for start in range(0, len(ids), SUSPECTS_AT_ONCE):
            these = {"grace": self._grace, "sagas": ids[start : start + SUSPECTS_AT_ONCE]}
            yield from merge_by_saga(
                *(
                    chain.from_iterable(self.snapshots[name].facts(sql.suspects_sql(name), these))
                    for name in DATABASES
                )
            )


def merge_by_saga(orders: Iterator[Any], stock: Iterator[Any], money: Iterator[Any]) -> Iterator[Rows]:
    """Merge three streams that are sorted by saga; a saga that a stream lacks is None there."""
    o, s, m = next(orders, None), next(stock, None), next(money, None)
    while o is not None or s is not None or m is not None:
        saga = min(row[0] for row in (o, s, m) if row is not None)
        row = s_row = m_row = None
        if o is not None and o[0] == saga:
            row, o = OrderFacts._make(o), next(orders, None)
        if s is not None and s[0] == saga:
            s_row, s = StockFacts._make(s), next(stock, None)
        if m is not None and m[0] == saga:
            m_row, m = MoneyFacts._make(m), next(money, None)
        yield row, s_row, m_row


class Prefetch:
    """Fetches the rows of a survey in a thread, so that the databases work while rows are compared."""

    def __init__(self, snapshot: Snapshot, statement: str, parameters: Parameters) -> None:
        self._snapshot = snapshot
        self._ready: queue.Queue[Sequence[Any] | Unreadable | None] = queue.Queue(BATCHES)
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._fetch, args=(statement, parameters), name="reconcile", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[Any]:
        while (batch := self._ready.get()) is not None:
            if isinstance(batch, Unreadable):
                raise batch
            yield from batch

    def close(self) -> None:
        """Stop the thread, and cancel its statement."""
        self._stopped.set()
        if self._thread.is_alive():
            self._snapshot.cancel()
        self._thread.join()

    def _fetch(self, statement: str, parameters: Parameters) -> None:
        try:
            for batch in self._snapshot.facts(statement, parameters):
                self._put(batch)
                if self._stopped.is_set():
                    return
            self._put(None)
        except Unreadable as error:
            self._put(error)

    def _put(self, what: Sequence[Any] | Unreadable | None) -> None:
        while not self._stopped.is_set():
            try:
                self._ready.put(what, timeout=0.2)
            except queue.Full:
                continue
            return
