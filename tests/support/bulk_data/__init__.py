"""The settled books of as many orders as one likes, written by SQL alone: nothing was ever placed, charged or
shipped.

Of a hundred orders four are declined, three out of stock, three cancelled with their goods held, one free of
charge; the others are confirmed. The house works on from there: later orders are placed and settle beside
them, ``reconcile`` is clean. ``python -m tests.support.bulk_data 1000000 ORDERS-URL INVENTORY-URL
PAYMENTS-URL`` fills three migrated, empty databases (give a superuser's URLs: foreign keys are then not
looked up row by row).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import psycopg2

from tests.support.bulk_data.common import BEGINNING, SKUS
from tests.support.bulk_data.inventory import INVENTORY
from tests.support.bulk_data.orders import ORDERS
from tests.support.bulk_data.payments import PAYMENTS
from tests.support.bulk_data.rare import INVENTORY_REST, ORDERS_REST

__all__ = ["SKUS", "customers", "fill", "fill_orders"]

AGO = timedelta(hours=1)
"""How long ago the last of the orders was placed."""
UNCHECKED = """
SELECT set_config('session_replication_role', 'replica', true) FROM pg_roles WHERE rolname = current_user AND rolsuper
"""


def customers(orders: int) -> int:
    """Of how many customers so many orders are: ``customer-0`` and on."""
    return max(100, orders // 20)


def _nobody(*_: object) -> None:
    """Tells nobody."""


def fill(
    orders: int, urls: Sequence[str], *, rest: bool = False, tell: Callable[[float, str], None] = _nobody
) -> None:
    """Write the books of so many orders into migrated, empty databases: orders, inventory, payments.

    :param rest: what is rare, open or stuck, too, for pages to find. Such books are not clean; it takes a
        superuser's URLs.
    :param tell: is told of each statement: seconds, and how it begins.
    """
    last = datetime.now(UTC) - AGO
    more = (ORDERS_REST, INVENTORY_REST, ()) if rest else ((), (), ())
    for url, statements, added in zip(urls, (ORDERS, INVENTORY, PAYMENTS), more, strict=True):
        _fill(orders, last, url, [*statements, *added], tell)


def fill_orders(orders: int, url: str, *, rest: bool = False) -> None:
    """The orders database's part alone."""
    _fill(orders, datetime.now(UTC) - AGO, url, [*ORDERS, *(ORDERS_REST if rest else ())], _nobody)


def _fill(
    orders: int, last: datetime, url: str, statements: Sequence[str], tell: Callable[[float, str], None]
) -> None:
    settings = {"book.orders": orders, "book.customers": customers(orders), "book.last": last.isoformat()}
    settings |= {"synchronous_commit": "off", "work_mem": "256MB", "temp_buffers": "256MB"}
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(UNCHECKED)
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
