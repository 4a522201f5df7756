"""The settled books of as many orders as one likes, written by SQL alone: nothing was ever placed, charged or shipped.

Of a hundred orders four are declined, three out of stock, three cancelled with their goods held, one free of charge; the
others are confirmed. The house works on from there: later orders are placed and settle beside them, ``reconcile`` is clean.
``python -m tests.support.million 1000000 ORDERS-URL INVENTORY-URL PAYMENTS-URL`` fills three migrated, empty databases
(give a superuser's URLs: indexes and triggers then cost less).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import psycopg2

from tests.support.million.booked import BEGINNING, SKUS
from tests.support.million.inventory import INVENTORY
from tests.support.million.orders import ORDERS
from tests.support.million.payments import PAYMENTS

__all__ = ["SKUS", "customers", "fill", "fill_orders"]

AGO = timedelta(hours=1)
"""How long ago the last of the orders was placed."""


def customers(orders: int) -> int:
    """Of how many customers so many orders are: ``customer-0`` and on."""
    return max(100, orders // 20)


def _nobody(*_: object) -> None:
    """Tells nobody."""


def fill(orders: int, urls: Sequence[str], *, tell: Callable[[float, str], None] = _nobody) -> None:
    """Write the books of so many orders into migrated, empty databases: orders, inventory, payments.

    :param tell: is told of each statement: seconds, and how it begins.
    """
    last = datetime.now(UTC) - AGO
    for url, statements in zip(urls, (ORDERS, INVENTORY, PAYMENTS), strict=True):
        _fill(orders, last, url, statements, tell)


def fill_orders(orders: int, url: str, *more: str) -> None:
    """Write the orders database's part alone, and what ``more`` statements add."""
    _fill(orders, datetime.now(UTC) - AGO, url, [*ORDERS, *more], _nobody)


def _fill(orders: int, last: datetime, url: str, statements: Sequence[str], tell: Callable[[float, str], None]) -> None:
    settings = {"book.orders": orders, "book.customers": customers(orders), "book.last": last.isoformat()}
    settings |= {"synchronous_commit": "off", "work_mem": "256MB", "temp_buffers": "256MB"}
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            for name, value in settings.items():
                cursor.execute("SELECT set_config(%s, %s, true)", [name, str(value)])
            for statement in (*BEGINNING, *statements):
                started = time.monotonic()
                cursor.execute(statement)
                tell(time.monotonic() - started, " ".join(statement.split())[:70])
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    finally:
        connection.close()
