"""What is ordered: the same orders for every contestant, drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import psycopg2

from tests.support.databases import Databases

PRICE = 500
"""Of every product, in cents."""
PLENTY = 10**9

# What stands in the three databases before the first order: a catalogue, stock, and wallets full of money.
ORDERS = "INSERT INTO orders_product SELECT 'SKU-' || n, 'Product ' || n, %(price)s, 'EUR' FROM generate_series(0, %(last)s) AS n"
INVENTORY = """
INSERT INTO product (sku, received, on_hand) SELECT 'SKU-' || n, %(plenty)s, %(plenty)s FROM generate_series(0, %(last)s) AS n;
INSERT INTO movement (sku, kind, quantity) SELECT sku, 'received', on_hand FROM product
"""
PAYMENTS = """
INSERT INTO wallet (customer, currency, balance)
SELECT 'customer-' || n, 'EUR', %(plenty)s FROM generate_series(0, %(customers)s - 1) AS n;
INSERT INTO ledger_transaction (id, kind) OVERRIDING SYSTEM VALUE VALUES (-1, 'top_up');
INSERT INTO ledger_entry SELECT -1, 'wallet:' || customer, 'EUR', balance FROM wallet
UNION ALL SELECT -1, 'funding', 'EUR', -sum(balance) FROM wallet
"""


class Order(NamedTuple):
    """So many of each product, for one customer."""

    customer: str
    lines: tuple[tuple[str, int], ...]

    @property
    def amount(self) -> int:
        """In cents."""
        return sum(quantity for _, quantity in self.lines) * PRICE


@dataclass(frozen=True)
class Trade:
    """Orders of ``lines`` different products out of ``products``, one to three of each, by one of
    ``customers``.
    """

    products: int = 1_000
    lines: int = 2
    customers: int = 1_000

    def orders(self, count: int, seed: int = 0) -> Iterator[Order]:
        """The first ``count`` orders of a seed."""
        dice = random.Random(seed)
        for _ in range(count):
            skus = dice.sample(range(self.products), self.lines)
            lines = tuple((f"SKU-{sku}", dice.randint(1, 3)) for sku in skus)
            yield Order(f"customer-{dice.randrange(self.customers)}", lines)

    def open(self, databases: Databases) -> None:
        """Fill catalogue, stock and wallets."""
        values = {"price": PRICE, "last": self.products - 1, "plenty": PLENTY, "customers": self.customers}
        for url, statements in (
            (databases.orders, ORDERS),
            (databases.inventory, INVENTORY),
            (databases.payments, PAYMENTS),
        ):
            run(url, statements, values)

    def options(self) -> dict[str, int]:
        """As JSON holds it."""
        return asdict(self)


def run(url: str, statements: str, values: Mapping[str, object] | None = None) -> None:
    """In one transaction."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statements, values)
    finally:
        connection.close()


def ask(url: str, statement: str, values: Sequence[object] | None = None) -> tuple[object, ...]:
    """The first row."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            row = cursor.fetchone()
            assert row is not None
            return tuple(row)
    finally:
        connection.close()
