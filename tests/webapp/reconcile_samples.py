"""Sample orders with every kind of outcome, and databases that a test may corrupt, for ``reconcile``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple
from unittest.mock import patch

import psycopg2.extensions
import pytest
from django.db import connection
from sqlalchemy.orm import Session

from ordersaga.testing import Rehearsal
from tests.support.databases import OWNERS, Databases, copies, drop
from tests.support.db_override import participants_at
from tests.support.postgres import OWNER, Postgres
from webapp.ops.reconcile import Auditor, Report
from webapp.orders.models import Order, Product
from webapp.orders.pricing import Item
from webapp.orders.services import place_order, send_cancel_request
from workers.choreography import choreography
from workers.inventory import stock
from workers.inventory.seed import receive
from workers.payments.seed import NewWallet, open_wallets


class SampleOrder(NamedTuple):
    order: str
    saga: str


class RehearsedOrders:
    """Places orders and runs their sagas in this process; see :func:`rehearsed_on`."""

    def __init__(self, seed: int = 1) -> None:
        self.rehearsal = Rehearsal(choreography(), seed=seed, repeats=0.1)
        self.placed = 0

    def seed(self) -> None:
        """Create products, stock and wallets."""
        for sku in ("TEA", "CUP", "POT", "GONE"):
            Product.objects.create(sku=sku, name=sku.title(), price=450, currency="EUR")
        participants = choreography().participants
        with participants["inventory"].database.begin() as tx:
            receive(tx.db, {"TEA": 1000, "CUP": 1000, "POT": 1000, "GONE": 0})
        with participants["payments"].database.begin() as tx:
            wallets = [
                NewWallet("ann", "EUR", 10**6),
                NewWallet("bob", "EUR", 10**6),
                NewWallet("eve", "EUR", 100),
            ]
            open_wallets(tx.db, wallets)

    def place(self, customer: str = "ann", *items: Item) -> Order:
        self.placed += 1
        lines = items or (Item("TEA", 2), Item("CUP", 1))
        return place_order(customer=customer, lines=lines, idempotency_key=f"key-{self.placed}")

    def run(self) -> None:
        """Deliver everything."""
        self.rehearsal.run()

    def run_all_but(self, topic: str) -> None:
        """Deliver everything except messages of this topic."""
        while True:
            self.rehearsal.collect()
            rest = [queued for queued in self.rehearsal.queued if queued.envelope.topic != topic]
            if not rest:
                return
            self.rehearsal.deliver(rest[0])


@contextmanager
def rehearsed_on(databases: Databases) -> Iterator[RehearsedOrders]:
    with participants_at(databases):
        yield RehearsedOrders()


def create_sample_orders(databases: Databases) -> dict[str, SampleOrder]:
    """Create one order of each outcome, by name; ``waiting`` and ``paid for`` are open."""
    orders: dict[str, Order] = {}
    with rehearsed_on(databases) as rehearsed:
        rehearsed.seed()
        orders["confirmed"] = rehearsed.place()
        orders["confirmed too"] = rehearsed.place("bob", Item("POT", 3), Item("TEA", 1))
        orders["free"] = rehearsed.place("nobody", Item("CUP", 1, amount=0))
        orders["declined"] = rehearsed.place("eve")
        orders["out of stock"] = rehearsed.place("ann", Item("TEA", 1), Item("GONE", 1), Item("CUP", 1))
        orders["cancelled at once"] = rehearsed.place()
        send_cancel_request(orders["cancelled at once"], "ann")
        rehearsed.run()

        orders["cancelled when charged"] = rehearsed.place()
        rehearsed.run_all_but("signal.PaymentCharged")
        send_cancel_request(orders["cancelled when charged"], "ann")
        rehearsed.run_all_but("signal.PaymentCharged")
        orders["expired"] = rehearsed.place()
        rehearsed.run_all_but("signal.OrderPlaced")
        rehearsed.rehearsal.make_timers_due("deadline", str(orders["expired"].saga_id))
        rehearsed.run()

        send_cancel_request(orders["confirmed"], "ann")
        orders["unshippable"] = rehearsed.place()
        with patch.object(stock, "ship", _failing(stock.ship, str(orders["unshippable"].saga_id))):
            rehearsed.run()

        orders["waiting"] = rehearsed.place()
        rehearsed.rehearsal.collect()
        rehearsed.rehearsal.queued.clear()
        orders["paid for"] = rehearsed.place()
        rehearsed.run_all_but("signal.PaymentCharged")
        with connection.cursor() as cursor:  # no relay runs, so an overdue reminder would count as stalled
            cursor.execute(
                "UPDATE ordersaga_outbox SET due_at = now() + interval '1 day' WHERE kind = 'watchdog'"
            )
    return {name: SampleOrder(str(order.id), str(order.saga_id)) for name, order in orders.items()}


def _failing(ship: Callable[..., None], saga: str) -> Callable[..., None]:
    def failing(session: Session, sagas: Any) -> None:
        if saga in sagas:
            raise RuntimeError("shipping fails")
        ship(session, sagas)

    return failing


class SharedConnection(psycopg2.extensions.connection):
    """A superuser's connection with an open transaction that ``reconcile`` reads too, so that corruptions
    need no commit. What would end or change the transaction does nothing.
    """

    def set_session(self, **_: object) -> None:  # type: ignore[override]  # accepts any argument
        pass

    def cancel(self) -> None:
        pass

    def close(self) -> None:
        pass

    def roll_back_and_close(self) -> None:
        super().rollback()
        super().close()


class CorruptibleDatabases:
    """Databases that a test corrupts in transactions; :meth:`close` rolls them back."""

    def __init__(self, urls: dict[str, str], orders: dict[str, SampleOrder]) -> None:
        self.urls, self.orders = urls, orders
        self._connections = {
            url: psycopg2.connect(url, connection_factory=SharedConnection) for url in urls.values()
        }

    def corrupt(self, database: str, sql: str, booked: SampleOrder | None = None) -> None:
        """Run a statement with triggers and foreign keys disabled, as only a superuser can."""
        with self._connections[self.urls[database]].cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(sql, booked and booked._asdict())
            assert cursor.rowcount, "nothing was corrupted"

    def audit(self, *, grace: float = 0.0, **options: Any) -> Report:
        """Run ``reconcile`` inside the corrupting transactions."""
        with patch("webapp.ops.reconcile.snapshots.connect", lambda url, **_: self._connections[url]):
            return Auditor(self.urls, timedelta(seconds=grace), **options).audit()

    def close(self) -> None:
        for shared in self._connections.values():
            shared.roll_back_and_close()


class RecordedWaits:
    """A ``wait`` function for ``reconcile`` that records its calls and calls ``meanwhile`` first."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.recorded: list[tuple[float, int]] = []
        self._meanwhile = meanwhile

    def __call__(self, seconds: float, suspects: int) -> None:
        self.recorded.append((seconds, suspects))
        self._meanwhile()
        time.sleep(seconds)


DELETE_COMPLETION = "DELETE FROM audit_sagaevent WHERE saga_id = %(saga)s AND name = 'complete'"
INSERT_COMPLETION = (
    "INSERT INTO audit_sagaevent (event_id, saga_id, kind, name, participant, again, said_at, data)"
    " VALUES (gen_random_uuid(), %(saga)s, 'notice', 'complete', 'orders', false, now(), '{}')"
)


class SampleDatabases(NamedTuple):
    """Databases with orders of every outcome, two of them open."""

    databases: Databases
    orders: dict[str, SampleOrder]


@pytest.fixture(scope="module")
def samples(postgres: Postgres, database_templates: dict[str, str]) -> Iterator[SampleDatabases]:
    postgres.ensure()
    made = copies(postgres, database_templates)
    yield SampleDatabases(made, create_sample_orders(made))
    drop(postgres, made)


@pytest.fixture
def corruptible(samples: SampleDatabases, postgres: Postgres) -> Iterator[CorruptibleDatabases]:
    names = {owner: getattr(samples.databases, owner).rpartition("/")[2] for owner in OWNERS}
    made = CorruptibleDatabases(
        {owner: postgres.url(name, OWNER) for owner, name in names.items()}, samples.orders
    )
    yield made
    made.close()


def audit(databases: Databases, *, grace: float = 0.0, **options: Any) -> Report:
    """Run ``reconcile`` on these databases."""
    urls = {owner: getattr(databases, owner) for owner in OWNERS}
    return Auditor(urls, timedelta(seconds=grace), **options).audit()
