"""Creates products, customers and orders in a test's databases."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from unittest.mock import patch

from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import Session

from ordersaga import SagaId, Watchdog
from tests.support.databases import Databases
from tests.support.db_override import django_at
from tests.support.fault_injection.skus import FAULTY_SKUS
from tests.support.time_scale import scaled
from workers.django_setup import setup
from workers.inventory.seed import receive
from workers.payments.seed import NewWallet, open_wallets

setup()

from webapp.orders import services  # noqa: E402 - needs Django's models
from webapp.orders.models import CancelRequest, Order, Product  # noqa: E402
from webapp.orders.pricing import Item, NewOrder  # noqa: E402
from webapp.orders.services import send_cancel_request  # noqa: E402
from workers.order_saga import order_saga  # noqa: E402

__all__ = ["Item", "OrderFactory"]

PRICES = {"TEA": 450, "MUG": 1200, "HAT": 2500, "GONE": 900, "FREE": 0, **dict.fromkeys(FAULTY_SKUS, 100)}
"""In cents. GONE is out of stock; of every other product there are a million units."""
WATCHDOG = Watchdog(first=timedelta(seconds=scaled(5)))
"""Shorter than in production, but long enough that no healthy order gets a reminder."""
ASLEEP = Watchdog(first=timedelta(hours=1), cap=timedelta(hours=1))
"""For tests in which no saga may get a reminder."""
RICH = 10**11
LIMIT = 100

_keys = itertools.count(1)


class OrderFactory:
    """Customers: ``ann`` and ``bob`` can pay. ``poor`` has no money, ``blocked`` has a blocked wallet, and
    ``limited`` an order limit of 100 cents.
    """

    def __init__(
        self,
        databases: Databases,
        *,
        participants: Sequence[str] = order_saga.participants,
        watchdog: Watchdog = WATCHDOG,
    ) -> None:
        """:param participants: the list that each new saga stores, as the web's setting would."""
        self.databases = databases
        self._contract = replace(order_saga, participants=tuple(participants), watchdog=watchdog)

    def seed(self) -> None:
        """Create the products, their stock and the wallets."""
        with django_at(self.databases.orders):
            goods = [
                Product(sku=sku, name=sku.title(), price=price, currency="EUR")
                for sku, price in PRICES.items()
            ]
            Product.objects.bulk_create(goods)
        with _session(self.databases.inventory) as db:
            receive(db, {**dict.fromkeys(PRICES, 1_000_000), "GONE": 0})
        wallets = [NewWallet(name, "EUR", RICH) for name in ("ann", "bob")]
        wallets += [NewWallet("poor", "EUR", 0), NewWallet("blocked", "EUR", RICH, blocked=True)]
        with _session(self.databases.payments) as db:
            open_wallets(db, [*wallets, NewWallet("limited", "EUR", RICH, order_limit=LIMIT)])

    def open_wallets(self, balances: Mapping[str, int]) -> None:
        """Create customers with these balances, in cents."""
        with _session(self.databases.payments) as db:
            open_wallets(db, [NewWallet(name, "EUR", balance) for name, balance in balances.items()])

    def add_product(self, sku: str, units: int, price: int = 100, title: str = "") -> None:
        self.add_products({sku: units}, price, {sku: title})

    def add_products(
        self, units: Mapping[str, int], price: int = 100, titles: Mapping[str, str] | None = None
    ) -> None:
        """Create products with these units in stock."""
        names = {sku: (titles or {}).get(sku) or sku.title() for sku in units}
        with django_at(self.databases.orders):
            Product.objects.bulk_create(
                Product(sku=s, name=n, price=price, currency="EUR") for s, n in names.items()
            )
        with _session(self.databases.inventory) as db:
            receive(db, units)

    def place(self, *lines: str | Item, customer: str = "ann", deadline: timedelta | None = None) -> SagaId:
        """Place one order, by default of one TEA; return its saga's id."""
        return self.place_all([lines or ("TEA",)], customer=customer, deadline=deadline)[0]

    def place_many(self, count: int, *lines: str | Item, customer: str = "ann") -> list[SagaId]:
        """Place ``count`` equal orders in one transaction; return their sagas' ids."""
        return self.place_all([lines or ("TEA",)] * count, customer=customer)

    def place_all(
        self,
        orders: Iterable[Sequence[str | Item]],
        *,
        customer: str = "ann",
        deadline: timedelta | None = None,
    ) -> list[SagaId]:
        """Place orders of these lines in one transaction, so that one envelope carries them; return their
        sagas' ids.
        """
        contract = replace(self._contract, deadline=deadline or order_saga.deadline)
        new = [
            NewOrder(
                customer,
                [line if isinstance(line, Item) else Item(line, 1) for line in lines],
                f"key-{next(_keys)}",
            )
            for lines in orders
        ]
        with django_at(self.databases.orders), patch.object(services, "order_saga", contract):
            return [str(order.saga_id) for order in services.place_orders(new)]

    def cancel(self, saga: SagaId) -> None:
        """Request a cancellation."""
        with django_at(self.databases.orders):
            send_cancel_request(Order.objects.get(saga_id=saga), "the customer")

    def cancel_outcome(self, saga: SagaId) -> str | None:
        """Return the outcome of the request to cancel, or None while it is open."""
        with django_at(self.databases.orders):
            return CancelRequest.objects.get(order__saga_id=saga).outcome


@contextmanager
def _session(url: str) -> Iterator[Session]:
    """Open a transaction in this database."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"))
    try:
        with Session(engine) as session, session.begin():
            yield session
    finally:
        engine.dispose()
