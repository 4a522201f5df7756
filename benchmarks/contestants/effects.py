"""The effect of each step of the order saga for one order, in plain SQL on the participants' tables.

The rows are those that OrderSaga's participants write for the same order: line, reservation, movement and
ledger. Shipping is left out, so that these contestants do one step less than OrderSaga.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2

Lines = Sequence[Sequence[Any]]
"""SKU and quantity of each line."""

PLACE = """
WITH placed AS (
    INSERT INTO orders_order (saga_id, customer, currency, amount, idempotency_key, content_digest)
    VALUES (%s, %s, 'EUR', %s, %s, 'none') RETURNING id
)
INSERT INTO orders_orderline (order_id, number, sku, quantity, amount)
SELECT placed.id, line.number, line.sku, line.quantity, line.quantity * %s
FROM placed, unnest(%s::int[], %s::text[], %s::int[]) AS line (number, sku, quantity)
RETURNING order_id
"""
HOLD = "UPDATE product SET on_hand = on_hand - %s, held = held + %s WHERE sku = %s AND on_hand >= %s"
RESERVE = "INSERT INTO reservation (saga_id, line, order_number, sku, quantity) VALUES (%s, %s, %s, %s, %s)"
MOVE = "INSERT INTO movement (saga_id, sku, kind, quantity) VALUES (%s, %s, 'held', %s)"
PAY = """
UPDATE wallet SET balance = balance - %s
WHERE customer = %s AND currency = 'EUR' AND balance >= %s AND NOT blocked
"""
POST = """
WITH posted AS (
    INSERT INTO ledger_transaction (saga_id, kind, order_number) VALUES (%s, 'charge', %s) RETURNING id
)
INSERT INTO ledger_entry (transaction_id, account, currency, amount)
SELECT id, account, 'EUR', amount
FROM posted, (VALUES (%s, -%s::bigint), ('sales', %s::bigint)) AS entry (account, amount)
"""
CONFIRM = (
    "UPDATE orders_order SET confirmed_at = statement_timestamp() WHERE saga_id = %s AND confirmed_at IS NULL"
)

_local = threading.local()


class Refused(Exception):
    """Out of stock or out of money, which no order of the benchmarks is."""


@contextmanager
def transaction(domain: str) -> Iterator[Any]:
    """Open a transaction on this thread's connection to a domain's database; yield a cursor."""
    connections = _local.__dict__.setdefault("connections", {})
    if domain not in connections:
        connections[domain] = psycopg2.connect(os.environ[f"ORDERSAGA_{domain.upper()}_DATABASE_URL"])
    connection = connections[domain]
    with connection, connection.cursor() as cursor:
        yield cursor


def place(cursor: Any, customer: str, lines: Lines, price: int) -> tuple[str, int, int]:
    """Insert the order; return its saga's id, its number and its amount."""
    saga = str(uuid.uuid4())
    skus, quantities = [sku for sku, _ in lines], [quantity for _, quantity in lines]
    amount = sum(quantities) * price
    cursor.execute(
        PLACE, [saga, customer, amount, saga, price, list(range(1, len(skus) + 1)), skus, quantities]
    )
    return saga, cursor.fetchone()[0], amount


def hold(cursor: Any, saga: str, number: int, lines: Lines) -> None:
    """Hold every line in the order of SKUs, so that two orders cannot deadlock."""
    for line, (sku, quantity) in enumerate(sorted(map(tuple, lines)), start=1):
        cursor.execute(HOLD, [quantity, quantity, sku, quantity])
        if cursor.rowcount != 1:
            raise Refused(f"order {number}: out of stock: {sku}")
        cursor.execute(RESERVE, [saga, line, str(number), sku, quantity])
        cursor.execute(MOVE, [saga, sku, quantity])


def charge(cursor: Any, saga: str, number: int, customer: str, amount: int) -> None:
    """Charge the wallet, and write two ledger entries."""
    cursor.execute(PAY, [amount, customer, amount])
    if cursor.rowcount != 1:
        raise Refused(f"order {number}: payment declined")
    cursor.execute(POST, [saga, str(number), f"wallet:{customer}", amount, amount])


def confirm(cursor: Any, saga: str) -> None:
    cursor.execute(CONFIRM, [saga])
