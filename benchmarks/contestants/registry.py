"""Who is compared: how each is prepared, started, looked at and checked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from benchmarks.contestants.careful import TABLES
from benchmarks.workload import ask, run
from tests.support.databases import OWNERS, Databases
from tests.support.db_probe import DatabaseProbe

Argv = list[str]
DOMAINS = ("inventory", "payments", "orders")


@dataclass(frozen=True)
class Worker:
    """A process to start. ``kind`` is what its CPU time is booked under; ``ready`` what it says
    when it is.
    """

    name: str
    kind: str
    argv: Argv
    ready: str


@dataclass(frozen=True)
class Contestant:
    """One of those compared.

    :ivar name: in reports and on the command line.
    :ivar shop: how it places orders, by :mod:`benchmarks.contestants.placing`.
    :ivar processes: of each pool.
    :ivar options: further options of ``celery worker``.
    :ivar late: domains whose pools begin only when a drain has been measured.
    """

    name: str
    shop: str
    about: str
    processes: int = 1
    options: Sequence[str] = field(default=("-P", "prefork", "-c", "1"))
    embedded: bool = False
    late: Sequence[str] = ()

    def of(self, processes: int) -> Contestant:
        """The same with so many processes of each pool."""
        return replace(self, processes=processes)

    # -- before
    # --------------------------------------------------------------------------------------------------------

    def prepare(self, databases: Databases) -> None:
        """What its databases need beside the migrations."""
        if self.shop == "ordersaga":
            return
        # its orders have no saga
        run(databases.orders, "ALTER TABLE orders_order DROP CONSTRAINT " + _saga_key(databases))
        if self.shop == "careful":
            for owner in OWNERS:
                run(getattr(databases, owner), TABLES)

    def workers(self) -> list[Worker]:
        """The processes to start."""
        return [worker for worker in self._workers() if worker.kind.removesuffix(" pool") not in self.late]

    def latecomers(self) -> list[Worker]:
        """The processes to start when all is measured, and before the books are looked at."""
        return [worker for worker in self._workers() if worker.kind.removesuffix(" pool") in self.late]

    def _workers(self) -> list[Worker]:
        if self.shop == "bare":
            return [Worker(d, f"{d} loop", module("bare", d), "ready.") for d in DOMAINS]
        if self.shop == "ordersaga":
            return [
                self._pool(f"workers.{d}", d, n)
                for d in (*DOMAINS, "audit")
                for n in range(1, self.processes + 1)
            ]
        pools = [
            self._pool(f"benchmarks.contestants.{self.shop}", d, n, "-Q", d)
            for d in DOMAINS
            for n in range(1, self.processes + 1)
        ]
        if self.shop == "careful":
            pools += [Worker(f"{d}-relay", "relays", module("careful", d), "ready.") for d in DOMAINS]
        return pools

    def _pool(self, app: str, domain: str, number: int, *more: str) -> Worker:
        node = f"{domain}-{number}@bench"
        common = ["-n", node, "-l", "WARNING", "--without-gossip", "--without-mingle", *self.options, *more]
        argv = [sys.executable, "-m", "benchmarks.contestants.celery_cli", "-A", app, "worker", *common]
        return Worker(f"{domain}-{number}", f"{domain} pool", argv, "ready.")

    # -- after
    # ---------------------------------------------------------------------------------------------------------

    def settled(self, databases: Databases) -> bool:
        """Whether every order has come to its end. They are not counted, and sagas are sought where those
        that are open stand: looking through them all would cost more than some of what is measured.
        """
        sagas, orders = (
            "ordersaga_saga WHERE ended_at IS NULL ORDER BY deadline_at",
            "orders_order WHERE confirmed_at IS NULL",
        )
        first = f"SELECT FROM {sagas if self.shop == 'ordersaga' else orders} LIMIT 1"
        [under_way] = ask(databases.orders, f"SELECT count(*) FROM ({first}) AS found")
        return not under_way

    @property
    def ended(self) -> str:
        """The statement that tells when the last order came to its end."""
        column = (
            "ended_at) FROM ordersaga_saga" if self.shop == "ordersaga" else "confirmed_at) FROM orders_order"
        )
        return f"SELECT max({column}"

    def check(self, databases: Databases, orders: int) -> None:
        """Whether the books agree.

        :raises AssertionError: when they do not; the figures of such a run are worth nothing.
        """
        if self.shop == "ordersaga":
            DatabaseProbe(databases).wait_until_clean(
                timeout=120
            )  # what manage.py reconcile does, without grace; the audit may lag behind
        else:
            _sums(databases, orders)


def module(name: str, *words: str) -> Argv:
    return [sys.executable, "-m", f"benchmarks.contestants.{name}", *words]


def _saga_key(databases: Databases) -> str:
    find = "SELECT conname FROM pg_constraint WHERE conrelid = 'orders_order'::regclass AND contype = 'f'"
    return str(ask(databases.orders, find)[0])


def _sums(databases: Databases, orders: int) -> None:
    """Every order confirmed; what is held is what was ordered; what was taken is what it costs; the ledger
    sums to zero.
    """
    confirmed, amount = ask(
        databases.orders, "SELECT count(confirmed_at), sum(amount)::bigint FROM orders_order"
    )
    [ordered] = ask(databases.orders, "SELECT sum(quantity)::bigint FROM orders_orderline")
    held = ask(
        databases.inventory,
        "SELECT sum(held)::bigint, (SELECT sum(quantity)::bigint FROM reservation) FROM product",
    )
    [moved] = ask(databases.inventory, "SELECT sum(quantity)::bigint FROM movement WHERE kind = 'held'")
    sales = ask(databases.payments, "SELECT sum(amount)::bigint FROM ledger_entry WHERE account = 'sales'")
    [balance] = ask(databases.payments, "SELECT sum(amount)::bigint FROM ledger_entry")
    found = (confirmed, *held, moved, *sales, balance)
    assert found == (orders, ordered, ordered, ordered, amount, 0), (
        f"the books do not agree: {found}, {ordered=}, {amount=}"
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
