"""Writes many settled orders into migrated databases by SQL alone, without running any saga.

Of a hundred orders, four are declined, three out of stock, three cancelled while stock is held, and one is
free; the others are confirmed. New orders settle beside them, and ``reconcile`` is clean. ``python -m
tests.support.bulk_data 1000000 ORDERS-URL INVENTORY-URL PAYMENTS-URL`` fills three migrated, empty databases.
As a superuser it skips the check of foreign keys row by row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import psycopg2

from tests.support.bulk_data.common import PREPARATION, SKUS
from tests.support.bulk_data.inventory import INVENTORY
from tests.support.bulk_data.orders import ORDERS
from tests.support.bulk_data.payments import PAYMENTS
from tests.support.bulk_data.rare import INVENTORY_RARE, ORDERS_RARE

__all__ = ["SKUS", "customers", "fill", "fill_orders"]

AGO = timedelta(hours=1)
"""How long ago the last order was placed."""
UNCHECKED = """
SELECT set_config('session_replication_role', 'replica', true)
FROM pg_roles WHERE rolname = current_user AND rolsuper
"""


def customers(orders: int) -> int:
    """Return the number of customers for a number of orders; they are ``customer-0`` and on."""
    return max(100, orders // 20)


def _report_nothing(*_: object) -> None:
    pass


def fill(
    orders: int,
    urls: Sequence[str],
    *,
    rare: bool = False,
    report: Callable[[float, str], None] = _report_nothing,
) -> None:
    """Write ``orders`` orders into migrated, empty databases: orders, inventory, payments.

    :param rare: add rare, open and stuck orders for pages to find. Such databases are not clean, and writing
        them needs a superuser's URLs.
    :param report: called with the seconds and the beginning of each statement.
    """
    last = datetime.now(UTC) - AGO
    more = (ORDERS_RARE, INVENTORY_RARE, ()) if rare else ((), (), ())
    for url, statements, added in zip(urls, (ORDERS, INVENTORY, PAYMENTS), more, strict=True):
        _fill(orders, last, url, [*statements, *added], report)


def fill_orders(orders: int, url: str, *, rare: bool = False) -> None:
    """Write the orders database alone."""
    _fill(orders, datetime.now(UTC) - AGO, url, [*ORDERS, *(ORDERS_RARE if rare else ())], _report_nothing)


def _fill(
    orders: int, last: datetime, url: str, statements: Sequence[str], report: Callable[[float, str], None]
) -> None:
    settings = {"bulk.orders": orders, "bulk.customers": customers(orders), "bulk.last": last.isoformat()}
    settings |= {"synchronous_commit": "off", "work_mem": "256MB", "temp_buffers": "256MB"}
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(UNCHECKED)
            for name, value in settings.items():
                cursor.execute("SELECT set_config(%s, %s, true)", [name, str(value)])
            for statement in (*PREPARATION, *statements):
                started = time.monotonic()
                cursor.execute(statement)
                report(time.monotonic() - started, " ".join(statement.split())[:70])
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    finally:
        connection.close()
