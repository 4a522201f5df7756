"""The contestants: how each is prepared, started, observed and checked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from benchmarks.contestants.careful import TABLES
from benchmarks.workload import query_row, run
from tests.support.databases import OWNERS, Databases
from tests.support.db_probe import DatabaseProbe

Argv = list[str]
DOMAINS = ("inventory", "payments", "orders")


@dataclass(frozen=True)
class Worker:
    """A process to start. CPU time is summed by ``kind``; the process prints ``ready`` when it is."""

    name: str
    kind: str
    argv: Argv
    ready: str


@dataclass(frozen=True)
class Contestant:
    """A contestant.

    :ivar name: its name in reports and on the command line.
    :ivar placer: a key of ``PLACERS`` in :mod:`benchmarks.contestants.placing`.
    :ivar processes: the number of processes of each pool.
    :ivar options: further options of ``celery worker``.
    :ivar late: domains whose pools start only after a drain has been measured.
    """

    name: str
    placer: str
    about: str
    processes: int = 1
    options: Sequence[str] = field(default=("-P", "prefork", "-c", "1"))
    embedded: bool = False
    late: Sequence[str] = ()

    def of(self, processes: int) -> Contestant:
        """Return a copy with this number of processes of each pool."""
        return replace(self, processes=processes)

    # -- before ------------------------------------------------------------------------------------------

    def prepare(self, databases: Databases) -> None:
        """Create what the contestant's databases need beside the migrations."""
        if self.placer == "ordersaga":
            return
        # Orders of the other contestants have no saga.
        run(databases.orders, "ALTER TABLE orders_order DROP CONSTRAINT " + _saga_key(databases))
        if self.placer == "careful":
            for owner in OWNERS:
                run(getattr(databases, owner), TABLES)

    def workers(self) -> list[Worker]:
        return [worker for worker in self._workers() if worker.kind.removesuffix(" pool") not in self.late]

    def late_workers(self) -> list[Worker]:
        """Return the processes to start after the measurement and before the check."""
        return [worker for worker in self._workers() if worker.kind.removesuffix(" pool") in self.late]

    def _workers(self) -> list[Worker]:
        if self.placer == "bare":
            return [Worker(d, f"{d} loop", module("bare", d), "ready.") for d in DOMAINS]
        if self.placer == "ordersaga":
            return [
                self._pool(f"workers.{d}", d, n)
                for d in (*DOMAINS, "audit")
                for n in range(1, self.processes + 1)
            ]
        pools = [
            self._pool(f"benchmarks.contestants.{self.placer}", d, n, "-Q", d)
            for d in DOMAINS
            for n in range(1, self.processes + 1)
        ]
        if self.placer == "careful":
            pools += [Worker(f"{d}-relay", "relays", module("careful", d), "ready.") for d in DOMAINS]
        return pools

    def _pool(self, app: str, domain: str, number: int, *more: str) -> Worker:
        node = f"{domain}-{number}@bench"
        common = ["-n", node, "-l", "WARNING", "--without-gossip", "--without-mingle", *self.options, *more]
        argv = [sys.executable, "-m", "benchmarks.contestants.celery_cli", "-A", app, "worker", *common]
        return Worker(f"{domain}-{number}", f"{domain} pool", argv, "ready.")

    # -- after -------------------------------------------------------------------------------------------

    def settled(self, databases: Databases) -> bool:
        """Return whether every order has ended. It looks for one open row by an index, because counting
        would cost more than some of what is measured.
        """
        open_rows = "orders_order WHERE confirmed_at IS NULL"
        if self.placer == "ordersaga":
            open_rows = "ordersaga_saga WHERE ended_at IS NULL ORDER BY deadline_at"
        first = f"SELECT FROM {open_rows} LIMIT 1"
        [under_way] = query_row(databases.orders, f"SELECT count(*) FROM ({first}) AS found")
        return not under_way

    @property
    def ended(self) -> str:
        """The statement that selects when the last order ended."""
        column = (
            "ended_at) FROM ordersaga_saga"
            if self.placer == "ordersaga"
            else "confirmed_at) FROM orders_order"
        )
        return f"SELECT max({column}"

    def check(self, databases: Databases, orders: int) -> None:
        """Check the databases after a run.

        :raises AssertionError: if they are inconsistent, so that the figures of the run are worthless.
        """
        if self.placer == "ordersaga":
            DatabaseProbe(databases).wait_until_clean(timeout=120)
        else:
            _sums(databases, orders)


def module(name: str, *words: str) -> Argv:
    return [sys.executable, "-m", f"benchmarks.contestants.{name}", *words]


def _saga_key(databases: Databases) -> str:
    find = "SELECT conname FROM pg_constraint WHERE conrelid = 'orders_order'::regclass AND contype = 'f'"
    return str(query_row(databases.orders, find)[0])


def _sums(databases: Databases, orders: int) -> None:
    """Check that every order is confirmed, that stock held equals units ordered, that sales equal the orders'
    amounts, and that the ledger sums to zero.
    """
    confirmed, amount = query_row(
        databases.orders, "SELECT count(confirmed_at), sum(amount)::bigint FROM orders_order"
    )
    [ordered] = query_row(databases.orders, "SELECT sum(quantity)::bigint FROM orders_orderline")
    held = query_row(
        databases.inventory,
        "SELECT sum(held)::bigint, (SELECT sum(quantity)::bigint FROM reservation) FROM product",
    )
    [moved] = query_row(databases.inventory, "SELECT sum(quantity)::bigint FROM movement WHERE kind = 'held'")
    sales = query_row(
        databases.payments, "SELECT sum(amount)::bigint FROM ledger_entry WHERE account = 'sales'"
    )
    [balance] = query_row(databases.payments, "SELECT sum(amount)::bigint FROM ledger_entry")
    found = (confirmed, *held, moved, *sales, balance)
    assert found == (orders, ordered, ordered, ordered, amount, 0), (
        f"the databases are inconsistent: {found}, {ordered=}, {amount=}"
    )


ORDERSAGA = Contestant(
    "OrderSaga",
    "ordersaga",
    "all guarantees and the audit, RabbitMQ",
)
EMBEDDED = Contestant(
    "OrderSaga embedded", "ordersaga", "the same on the embedded PostgreSQL and its broker", embedded=True
)
UNWATCHED = replace(
    ORDERSAGA, name="OrderSaga, the audit later", about="what the audit costs", late=["audit"]
)
BARE = Contestant("bare loop", "bare", "py-amqp and psycopg2, packs of 400, nothing else")
PLAIN = [
    Contestant(
        f"plain chain, {kind} {size}",
        "plain",
        "a Celery chain, no inbox, outbox or audit",
        1,
        ("-P", kind, "-c", str(size)),
    )
    for kind in ("prefork", "threads")
    for size in (2, 8)
]
CAREFUL = [
    Contestant(
        f"careful Celery, {kind} {size}",
        "careful",
        "inbox, outbox, confirms, late acks",
        1,
        ("-P", kind, "-c", str(size)),
    )
    for kind, size in (("prefork", 2), ("threads", 8))
]
