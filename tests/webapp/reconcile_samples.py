"""CorruptibleDatabases written by the real participants: orders of every kind of end, rehearsed on real databases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple
from unittest.mock import patch

import psycopg2.extensions
import pytest
from django.db import connection, connections
from sqlalchemy.orm import Session

from ordersaga.contrib.sqlalchemy import SQLAlchemyDatabase
from ordersaga.testing import Rehearsal
from tests.support.databases import OWNERS, Databases, copies, drop
from tests.support.postgres import OWNER, Postgres
from webapp.db import to_django_config
from webapp.ops.reconcile import Auditor, Report
from webapp.orders.models import Order, Product
from webapp.orders.pricing import Item
from webapp.orders.services import cancel_order, place_order
from workers.choreography import choreography
from workers.inventory import stock
from workers.inventory.seed import receive
from workers.payments.seed import NewWallet, open_wallets


class Booked(NamedTuple):
    """An order that a test may ask for by what became of it."""

    order: str
    saga: str


class Shop:
    """Places orders and rehearses their sagas on the databases that :func:`opened` points at."""

    def __init__(self, seed: int = 1) -> None:
        self.rehearsal = Rehearsal(choreography(), seed=seed, repeats=0.1)
        self.placed = 0

    def seed(self) -> None:
        """Goods and customers."""
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
        """Until nothing is left to deliver."""
        self.rehearsal.run()

    def run_all_but(self, topic: str) -> None:
        """Until all that is left to deliver is of this topic."""
        while True:
            self.rehearsal.collect()
            rest = [mail for mail in self.rehearsal.mail if mail.envelope.topic != topic]
            if not rest:
                return
            self.rehearsal.deliver(rest[0])


@contextmanager
def opened(databases: Databases) -> Iterator[Shop]:
    """Django's default connection and the participants are these databases' for a while."""
    participants = choreography().participants
    given = connections["default"].settings_dict
    before = dict(given)
    connection.close()
    given.update(to_django_config(databases.orders))
    theirs = {name: SQLAlchemyDatabase(getattr(databases, name)) for name in ("inventory", "payments")}
    try:
        with (
            patch.object(participants["inventory"], "database", theirs["inventory"]),
            patch.object(participants["payments"], "database", theirs["payments"]),
        ):
            yield Shop()
    finally:
        connection.close()
        given.update(before)
        for database in theirs.values():
            database.discard()


def write_books(databases: Databases) -> dict[str, Booked]:
    """One order of each kind, by what became of it; ``waiting`` and ``paid for`` are open."""
    orders: dict[str, Order] = {}
    with opened(databases) as shop:
        shop.seed()
        orders["confirmed"] = shop.place()
        orders["confirmed too"] = shop.place("bob", Item("POT", 3), Item("TEA", 1))
        orders["free"] = shop.place("nobody", Item("CUP", 1, amount=0))
        orders["declined"] = shop.place("eve")
        orders["out of stock"] = shop.place("ann", Item("TEA", 1), Item("GONE", 1), Item("CUP", 1))
        orders["cancelled at once"] = shop.place()
        cancel_order(orders["cancelled at once"], "ann")
        shop.run()

        orders["cancelled when charged"] = shop.place()
        shop.run_all_but("signal.PaymentCharged")
        cancel_order(orders["cancelled when charged"], "ann")
        shop.run_all_but("signal.PaymentCharged")
        orders["expired"] = shop.place()
        shop.run_all_but("signal.OrderPlaced")
        shop.rehearsal.due("deadline", str(orders["expired"].saga_id))
        shop.run()

        cancel_order(orders["confirmed"], "ann")
        orders["unshippable"] = shop.place()
        with patch.object(stock, "ship", _failing(stock.ship, str(orders["unshippable"].saga_id))):
            shop.run()

        orders["waiting"] = shop.place()
        shop.rehearsal.collect()
        shop.rehearsal.mail.clear()
        orders["paid for"] = shop.place()
        shop.run_all_but("signal.PaymentCharged")
        with (
            connection.cursor() as cursor
        ):  # nobody carries them, and on a slow day they would be called stalled
            cursor.execute(
                "UPDATE ordersaga_outbox SET due_at = now() + interval '1 day' WHERE kind = 'watchdog'"
            )
    return {name: Booked(str(order.id), str(order.saga_id)) for name, order in orders.items()}


def _failing(ship: Callable[..., None], saga: str) -> Callable[..., None]:
    def failing(session: Session, sagas: Any) -> None:
        if saga in sagas:
            raise RuntimeError("the ramp is closed")
        ship(session, sagas)

    return failing


class Borrowed(psycopg2.extensions.connection):
    """A superuser's connection whose open transaction the auditor is let into, so that nothing need be
    committed.
    """

    def set_session(self, **_: object) -> None:  # type: ignore[override]  # whatever it is given
        """The transaction is what it is."""

    def cancel(self) -> None:
        """Nothing is left running."""

    def close(self) -> None:
        """The test rolls back."""

    def leave(self) -> None:
        super().rollback()
        super().close()


class CorruptibleDatabases:
    """The settled books, as corrupted in transactions that are rolled back in the end."""

    def __init__(self, urls: dict[str, str], orders: dict[str, Booked]) -> None:
        self.urls, self.orders = urls, orders
        self._connections = {url: psycopg2.connect(url, connection_factory=Borrowed) for url in urls.values()}

    def corrupt(self, database: str, sql: str, booked: Booked | None = None) -> None:
        """Past triggers and foreign keys, as only a superuser can."""
        with self._connections[self.urls[database]].cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(sql, booked and booked._asdict())
            assert cursor.rowcount, "nothing was corrupted"

    def audit(self, *, grace: float = 0.0, **options: Any) -> Report:
        """What the auditor says of them."""
        with patch("webapp.ops.reconcile.snapshots.connect", lambda url, **_: self._connections[url]):
            return Auditor(self.urls, timedelta(seconds=grace), **options).audit()

    def close(self) -> None:
        for borrowed in self._connections.values():
            borrowed.leave()


class Patience:
    """Stands for waiting: notes it, and lets something happen meanwhile."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.waits: list[tuple[float, int]] = []
        self._meanwhile = meanwhile

    def __call__(self, seconds: float, suspects: int) -> None:
        self.waits.append((seconds, suspects))
        self._meanwhile()
        time.sleep(seconds)


UNHEARD = "DELETE FROM audit_sagaevent WHERE saga_id = %(saga)s AND name = 'complete'"
HEARD = (
    "INSERT INTO audit_sagaevent (event_id, saga_id, kind, name, participant, again, said_at, data)"
    " VALUES (gen_random_uuid(), %(saga)s, 'notice', 'complete', 'orders', false, now(), '{}')"
)


class Settled(NamedTuple):
    """CorruptibleDatabases in which orders of every kind have ended, and two are open."""

    databases: Databases
    orders: dict[str, Booked]


@pytest.fixture(scope="module")
def settled(postgres: Postgres, database_templates: dict[str, str]) -> Iterator[Settled]:
    postgres.ensure()
    made = copies(postgres, database_templates)
    yield Settled(made, write_books(made))
    drop(postgres, made)


@pytest.fixture
def books(settled: Settled, postgres: Postgres) -> Iterator[CorruptibleDatabases]:
    """The settled books in a superuser's transactions: a test corrupts them as it likes."""
    names = {owner: getattr(settled.databases, owner).rpartition("/")[2] for owner in OWNERS}
    made = CorruptibleDatabases(
        {owner: postgres.url(name, OWNER) for owner, name in names.items()}, settled.orders
    )
    yield made
    made.close()


def audit(databases: Databases, *, grace: float = 0.0, **options: Any) -> Report:
    """What the auditor says of these databases."""
    urls = {owner: getattr(databases, owner) for owner in OWNERS}
    return Auditor(urls, timedelta(seconds=grace), **options).audit()
