"""The orders to place: random by a seed, and the same for every contestant."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import psycopg2

from tests.support.databases import Databases

PRICE = 500
"""The price of every product, in cents."""
PLENTY = 10**9

# The data in the three databases before the first order: products, stock and wallets.
ORDERS = """
INSERT INTO orders_product SELECT 'SKU-' || n, 'Product ' || n, %(price)s, 'EUR'
FROM generate_series(0, %(last)s) AS n
"""
INVENTORY = """
INSERT INTO product (sku, received, on_hand)
SELECT 'SKU-' || n, %(plenty)s, %(plenty)s FROM generate_series(0, %(last)s) AS n;
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
    """An order of one customer; each line is a SKU and a quantity."""

    customer: str
    lines: tuple[tuple[str, int], ...]

    @property
    def amount(self) -> int:
        """The price of the order, in cents."""
        return sum(quantity for _, quantity in self.lines) * PRICE


@dataclass(frozen=True)
class Workload:
    """Orders by ``customers`` of ``lines`` different products out of ``products``, one to three of each."""

    products: int = 1_000
    lines: int = 2
    customers: int = 1_000

    def orders(self, count: int, seed: int = 0) -> Iterator[Order]:
        """Yield the first ``count`` orders of a seed."""
        rng = random.Random(seed)
        for _ in range(count):
            skus = rng.sample(range(self.products), self.lines)
            lines = tuple((f"SKU-{sku}", rng.randint(1, 3)) for sku in skus)
            yield Order(f"customer-{rng.randrange(self.customers)}", lines)

    def create_data(self, databases: Databases) -> None:
        """Create products, stock and wallets."""
        values = {"price": PRICE, "last": self.products - 1, "plenty": PLENTY, "customers": self.customers}
        for url, statements in (
            (databases.orders, ORDERS),
            (databases.inventory, INVENTORY),
            (databases.payments, PAYMENTS),
        ):
            run(url, statements, values)

    def options(self) -> dict[str, int]:
        """Return the arguments of the constructor, for JSON."""
        return asdict(self)


def run(url: str, statements: str, values: Mapping[str, object] | None = None) -> None:
    """Run statements in one transaction."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statements, values)
    finally:
        connection.close()


def query_row(url: str, statement: str, values: Sequence[object] | None = None) -> tuple[object, ...]:
    """Return the first row of a query."""
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
