"""A shop on a test's databases: goods, customers, and orders placed as the stage places them."""

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
from tests.support.fault_injection.goods import UNRULY
from tests.support.time_scale import scaled
from workers.django_setup import setup
from workers.inventory.seed import receive
from workers.payments.seed import NewWallet, open_wallets

setup()

from webapp.orders import services  # noqa: E402 - what follows stands on Django's models
from webapp.orders.models import CancelRequest, Order, Product  # noqa: E402
from webapp.orders.pricing import Item, NewOrder  # noqa: E402
from webapp.orders.services import cancel_order  # noqa: E402
from workers.order_saga import order_saga  # noqa: E402

__all__ = ["Item", "Shop"]

PRICES = {"TEA": 450, "MUG": 1200, "HAT": 2500, "GONE": 900, "FREE": 0, **dict.fromkeys(UNRULY, 100)}
"""In cents. Of GONE there is none, of everything else plenty."""
WATCHDOG = Watchdog(first=timedelta(seconds=scaled(5)))
"""Sooner than in production; on a slow machine not so soon that healthy orders are reminded."""
ASLEEP = Watchdog(first=timedelta(hours=1), cap=timedelta(hours=1))
"""For tests in which nobody shall be reminded."""
RICH = 10**11
LIMIT = 100

_keys = itertools.count(1)


class Shop:
    """Customers: ``ann`` and ``bob`` can pay; ``poor`` has nothing; ``blocked`` and ``limited`` (100 cents)
    are rich.
    """

    def __init__(
        self,
        databases: Databases,
        *,
        participants: Sequence[str] = order_saga.participants,
        watchdog: Watchdog = WATCHDOG,
    ) -> None:
        """:param participants: those frozen into each saga that begins here, as the web's setting would have
        them.
        """
        self.databases = databases
        self._contract = replace(order_saga, participants=tuple(participants), watchdog=watchdog)

    def open(self) -> None:
        """Fill the catalogue, the stock and the wallets."""
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
        """Customers of the test's own, with what they have."""
        with _session(self.databases.payments) as db:
            open_wallets(db, [NewWallet(name, "EUR", balance) for name, balance in balances.items()])

    def stock(self, sku: str, units: int, price: int = 100, title: str = "") -> None:
        """An article of the test's own, of which there are so many."""
        self.stock_all({sku: units}, price, {sku: title})

    def stock_all(
        self, units: Mapping[str, int], price: int = 100, titles: Mapping[str, str] | None = None
    ) -> None:
        """Articles of the test's own, with how many there are of each."""
        names = {sku: (titles or {}).get(sku) or sku.title() for sku in units}
        with django_at(self.databases.orders):
            Product.objects.bulk_create(
                Product(sku=s, name=n, price=price, currency="EUR") for s, n in names.items()
            )
        with _session(self.databases.inventory) as db:
            receive(db, units)

    def place(self, *lines: str | Item, customer: str = "ann", deadline: timedelta | None = None) -> SagaId:
        """Place one order (of one TEA unless told otherwise); its saga."""
        return self.place_all([lines or ("TEA",)], customer=customer, deadline=deadline)[0]

    def place_many(self, count: int, *lines: str | Item, customer: str = "ann") -> list[SagaId]:
        """Place so many equal orders in one transaction; their sagas."""
        return self.place_all([lines or ("TEA",)] * count, customer=customer)

    def place_all(
        self,
        orders: Iterable[Sequence[str | Item]],
        *,
        customer: str = "ann",
        deadline: timedelta | None = None,
    ) -> list[SagaId]:
        """Place orders of these lines in one transaction, so that they travel in one envelope;
        their sagas.
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
        """The customer wishes to cancel."""
        with django_at(self.databases.orders):
            cancel_order(Order.objects.get(saga_id=saga), "the customer")

    def told(self, saga: SagaId) -> str | None:
        """What whoever wished to cancel was told, if anything yet."""
        with django_at(self.databases.orders):
            return CancelRequest.objects.get(order__saga_id=saga).outcome


@contextmanager
def _session(url: str) -> Iterator[Session]:
    """A transaction in the database of that URL."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"))
    try:
        with Session(engine) as session, session.begin():
            yield session
    finally:
        engine.dispose()
