"""The settled books of as many orders as one likes, written by SQL alone: nothing was ever placed, charged or shipped.

Of a hundred orders four are declined, three out of stock, three cancelled with their goods held, one free of charge; the
others are confirmed. ``python -m tests.stage.support_million 1000000 ORDERS-URL INVENTORY-URL PAYMENTS-URL`` fills three
migrated, empty databases (give a superuser's URLs: indexes and triggers then cost less).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import psycopg2

SKUS, CUSTOMERS = 50, 100

# What order number n is, in each database alike. Ids grow with n, as those of version 7 do.
ID = (
    "(lpad(to_hex(1760000000000 + n), 12, '0') || '7' || substr(md5(n::text), 1, 3)"
    " || '8' || substr(md5(n::text), 4, 15))::uuid"
)
BOOKED = f"""
CREATE TEMPORARY TABLE booked AS
SELECT n, {ID} AS saga, 'customer-' || n % {CUSTOMERS} AS customer, 1 + n % 3 AS lines,
    CASE WHEN n % 100 < 4 THEN 'declined' WHEN n % 100 < 7 THEN 'lacking' WHEN n % 100 < 10 THEN 'cancelled'
        WHEN n % 100 = 10 THEN 'free' ELSE 'confirmed' END AS kind,
    now() - interval '1 hour' AS at
FROM generate_series(1, current_setting('book.orders')::int) AS n;
CREATE TEMPORARY TABLE line AS
SELECT n, saga, kind, at, number, 'SKU-' || (n * 7 + number * 13) % {SKUS} AS sku, 1 + (n + number) % 3 AS quantity,
    CASE WHEN kind = 'free' THEN 0 ELSE 500 * (1 + (n + number) % 3) END AS amount
FROM booked, generate_series(1, lines) AS number;
CREATE TEMPORARY TABLE bill AS SELECT n, sum(amount) AS amount FROM line GROUP BY n;
ANALYZE booked; ANALYZE line; ANALYZE bill;
"""

KEPT = "kind IN ('confirmed', 'free')"
ORDERS = [
    f"""
    INSERT INTO ordersaga_saga (id, name, status, participants, pack_id, refusal, refused_by, deadline_at, started_at,
        moved_at, ended_at)
    SELECT saga, 'order', CASE WHEN {KEPT} THEN 'CONFIRMED' ELSE 'ROLLED_BACK' END,
        '{{orders,inventory,payments}}', 1,
        CASE kind WHEN 'declined' THEN 'PaymentDeclined' WHEN 'lacking' THEN 'OutOfStock'
            WHEN 'cancelled' THEN 'OrderCancelled' END,
        CASE kind WHEN 'declined' THEN 'payments' WHEN 'lacking' THEN 'inventory' WHEN 'cancelled' THEN 'orders' END,
        at + interval '15 min', at, at, at FROM booked
    """,
    f"""
    INSERT INTO orders_product SELECT 'SKU-' || n, 'Product ' || n, 500, 'EUR' FROM generate_series(0, {SKUS - 1}) AS n
    """,
    f"""
    INSERT INTO orders_order (id, saga_id, customer, currency, amount, placed_at, idempotency_key, content_digest,
        confirmed_at)
    SELECT n, saga, customer, 'EUR', amount, at, 'key-' || n, 'digest', CASE WHEN {KEPT} THEN at END
    FROM booked JOIN bill USING (n)
    """,
    "INSERT INTO orders_orderline (order_id, number, sku, quantity, amount) SELECT n, number, sku, quantity, amount FROM line",
    "INSERT INTO orders_cancelrequest SELECT n, 'ann', at, 'cancelled', at FROM booked WHERE kind = 'cancelled'",
    f"""
    INSERT INTO ordersaga_journal (saga_id, step, state, pack_id, at)
    SELECT saga, step, state, CASE WHEN state IN ('done', 'refused') THEN 1 END, at
    FROM booked, LATERAL (VALUES
        ('orders.cancel', CASE WHEN kind = 'cancelled' THEN 'refused' WHEN NOT {KEPT} THEN 'barred' END),
        ('orders.complete_order', CASE WHEN {KEPT} THEN 'done' ELSE 'barred' END),
        ('orders.confirm_order', CASE WHEN {KEPT} THEN 'done' ELSE 'barred' END),
        ('orders.expire_order', CASE WHEN NOT {KEPT} THEN 'barred' END),
        ('orders.refusal', CASE WHEN NOT {KEPT} THEN 'heard' END)
    ) AS row (step, state) WHERE state IS NOT NULL
    """,
    f"""
    INSERT INTO ordersaga_answer SELECT saga, name, at
    FROM booked, unnest('{{orders,inventory,payments}}'::text[]) AS name WHERE NOT {KEPT}
    """,
    f"""
    INSERT INTO audit_sagaevent (event_id, saga_id, cause, kind, name, participant, step, task_id, attempt, again,
        said_at, heard_at, data)
    SELECT gen_random_uuid(), saga, saga, row.kind, name, participant, 'step', saga::text, 1, false, at, at,
        jsonb_build_object('order', n::text, 'customer', customer, 'currency', 'EUR', 'lines', '[]'::jsonb)
    FROM booked, LATERAL (VALUES
        ('signal', 'OrderPlaced', 'orders', true),
        ('signal', 'StockReserved', 'inventory', booked.kind <> 'lacking'),
        ('signal', 'PaymentCharged', 'payments', booked.{KEPT}),
        ('signal', 'OrderConfirmed', 'orders', booked.{KEPT}),
        ('signal', 'StockShipped', 'inventory', booked.{KEPT}),
        ('notice', 'complete', 'orders', booked.{KEPT}),
        ('refusal', 'PaymentDeclined', 'payments', booked.kind = 'declined'),
        ('refusal', 'OutOfStock', 'inventory', booked.kind = 'lacking'),
        ('refusal', 'OrderCancelled', 'orders', booked.kind = 'cancelled'),
        ('notice', 'undone', 'inventory', booked.kind IN ('declined', 'cancelled')),
        ('signal', 'StockReleased', 'inventory', booked.kind IN ('declined', 'cancelled')),
        ('answer', 'answer', 'orders', NOT booked.{KEPT}),
        ('answer', 'answer', 'inventory', NOT booked.{KEPT}),
        ('answer', 'answer', 'payments', NOT booked.{KEPT}),
        ('notice', 'rolled back', 'orders', NOT booked.{KEPT})
    ) AS row (kind, name, participant, said) WHERE said
    """,
]
STATE = f"CASE WHEN {KEPT} THEN 'shipped' ELSE 'released' END"
INVENTORY = [
    f"INSERT INTO product (sku, received, on_hand) SELECT 'SKU-' || n, 10^9, 10^9 FROM generate_series(0, {SKUS - 1}) AS n",
    "INSERT INTO movement (sku, kind, quantity) SELECT sku, 'received', on_hand FROM product",
    f"""
    INSERT INTO reservation SELECT saga, number, n, sku, quantity, {STATE}, at FROM line WHERE kind <> 'lacking'
    """,
    f"""
    INSERT INTO movement (sku, saga_id, kind, quantity, at)
    SELECT sku, saga, moved, quantity, at FROM line, LATERAL (VALUES ('held'), ({STATE})) AS row (moved)
    WHERE kind <> 'lacking'
    """,
    f"""
    UPDATE product SET sold = n, on_hand = on_hand - n
    FROM (SELECT sku, sum(quantity) AS n FROM line WHERE {KEPT} GROUP BY sku) AS sold WHERE sold.sku = product.sku
    """,
    f"""
    INSERT INTO ordersaga_journal (saga_id, step, state, pack_id, at)
    SELECT saga, step, state, CASE WHEN state IN ('done', 'undone', 'refused') THEN 1 END, at
    FROM booked, LATERAL (VALUES
        ('inventory.refusal', CASE WHEN NOT {KEPT} THEN 'heard' END),
        ('inventory.reserve_stock',
            CASE WHEN {KEPT} THEN 'done' WHEN kind = 'lacking' THEN 'refused' ELSE 'undone' END),
        ('inventory.ship_stock', CASE WHEN {KEPT} THEN 'done' ELSE 'barred' END)
    ) AS row (step, state) WHERE state IS NOT NULL
    """,
]
PAYMENTS = [
    f"""
    INSERT INTO wallet (customer, currency, balance)
    SELECT 'customer-' || n, 'EUR', 10::bigint^12 FROM generate_series(0, {CUSTOMERS - 1}) AS n
    """,
    "INSERT INTO ledger_transaction (id, kind) OVERRIDING SYSTEM VALUE VALUES (-1, 'top_up')",
    """
    INSERT INTO ledger_entry SELECT -1, 'wallet:' || customer, 'EUR', balance FROM wallet
    UNION ALL SELECT -1, 'funding', 'EUR', -sum(balance) FROM wallet
    """,
    f"""
    INSERT INTO ledger_transaction (id, saga_id, kind, order_number, at) OVERRIDING SYSTEM VALUE
    SELECT n, saga, 'charge', n, at FROM booked WHERE {KEPT}
    """,
    f"""
    INSERT INTO ledger_entry SELECT n, row.account, 'EUR', row.amount FROM booked JOIN bill USING (n),
    LATERAL (VALUES ('sales', bill.amount), ('wallet:' || customer, -bill.amount)) AS row (account, amount)
    WHERE {KEPT} AND bill.amount > 0
    """,
    f"""
    UPDATE wallet SET balance = balance - spent FROM (SELECT customer, sum(amount) AS spent FROM booked
    JOIN bill USING (n) WHERE {KEPT} GROUP BY customer) AS s WHERE s.customer = wallet.customer
    """,
    f"""
    INSERT INTO ordersaga_journal (saga_id, step, state, pack_id, at)
    SELECT saga, step, state, CASE WHEN state IN ('done', 'refused') THEN 1 END, at
    FROM booked, LATERAL (VALUES
        ('payments.charge', CASE WHEN {KEPT} THEN 'done' WHEN kind = 'declined' THEN 'refused' ELSE 'barred' END),
        ('payments.refusal', CASE WHEN NOT {KEPT} THEN 'heard' END)
    ) AS row (step, state) WHERE state IS NOT NULL
    """,
]


def fill(orders: int, urls: Sequence[str], *, tell: bool = False) -> None:
    """Write the books of so many orders into migrated, empty databases: orders, inventory, payments."""
    for url, statements in zip(urls, (ORDERS, INVENTORY, PAYMENTS), strict=True):
        _fill(orders, url, statements, tell=tell)


def fill_orders(orders: int, url: str, *more: str) -> None:
    """Write the orders database's part alone, and what ``more`` statements add."""
    _fill(orders, url, [*ORDERS, *more])


def _fill(orders: int, url: str, statements: Sequence[str], *, tell: bool = False) -> None:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
            cursor.execute("SELECT set_config('book.orders', %s, true)", [str(orders)])
            for statement in (BOOKED, *statements):
                started = time.monotonic()
                cursor.execute(statement)
                if tell:
                    print(f"{time.monotonic() - started:6.1f} s  {' '.join(statement.split())[:70]}")  # noqa: T201 - run by hand
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    finally:
        connection.close()


if __name__ == "__main__":
    fill(int(sys.argv[1]), sys.argv[2:5], tell=True)
