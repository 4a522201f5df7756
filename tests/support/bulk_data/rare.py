"""Adds rare rows to a million settled orders, which pages must find quickly. The result is not clean."""

from __future__ import annotations

DEAD_LETTERS = 20_000
PRODUCTS = 20_000

# The newest hundredth of the orders is open: pending, confirmed and not shipped, rolling back, and some
# stuck.
_OPEN = """
CREATE TEMPORARY TABLE opened AS
SELECT n, at, pg_temp.id_at(at, n::text) AS saga, 'customer-' || n % 100 AS customer,
    CASE WHEN n % 10 < 6 THEN 'PENDING' WHEN n % 10 < 8 THEN 'CONFIRMED' ELSE 'ROLLING_BACK' END AS status,
    CASE WHEN n % 50 IN (6, 8) THEN 'no end after 5 reminders' END AS attention
FROM (SELECT max(n) AS last FROM priced) AS it, generate_series(last + 1, last + last / 100) AS n,
LATERAL (SELECT now() - (last + last / 100 - n) * interval '30 ms' AS at) AS time;

INSERT INTO ordersaga_saga (id, name, status, participants, pack_id, refusal, refused_by, reason,
    deadline_at, started_at, attention)
SELECT saga, 'order', status, '{orders,inventory,payments}', 1,
    CASE status WHEN 'ROLLING_BACK' THEN 'OutOfStock' END,
    CASE status WHEN 'ROLLING_BACK' THEN 'inventory' END,
    CASE status WHEN 'ROLLING_BACK' THEN 'Out of stock: SKU-1' END,
    at + interval '15 min', at, attention FROM opened;
INSERT INTO orders_order (id, saga_id, customer, currency, amount, placed_at, idempotency_key, content_digest)
SELECT n, saga, customer, 'EUR', 500, at, 'open:' || n, md5(n::text) FROM opened;
INSERT INTO orders_orderline (order_id, number, sku, quantity, amount)
SELECT n, 1, 'SKU-1', 1, 500 FROM opened;
INSERT INTO orders_cancelrequest (order_id, asked_by, asked_at)
SELECT n, 'staff 1', at FROM opened WHERE n % 20 = 0;
INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, saga_id, signals, payload, due_at)
SELECT 'orders', timer, timer, 'orders', saga, 1, '{}', at + interval '15 min'
FROM opened, unnest('{deadline,watchdog}'::text[]) AS timer;
INSERT INTO audit_sagaevent (event_id, saga_id, kind, name, participant, again, said_at, data)
SELECT pg_temp.id_at(at, n || name), saga, kind, name, participant, n % 100 = 0, at,
    jsonb_build_object('order', n::text)
FROM opened, (VALUES ('signal', 'OrderPlaced', 'orders'), ('signal', 'StockReserved', 'inventory'),
    ('notice', 'attempt failed', 'payments'), ('attention', 'attention', 'orders')
) AS event (kind, name, participant)
WHERE kind <> 'attention' OR attention IS NOT NULL;
SELECT setval(pg_get_serial_sequence('orders_order', 'id'), max(n)) FROM opened;
"""

# Rare rows are old: no roll-back for months, and one refusal only long ago.
_OLD = """
SET LOCAL session_replication_role = replica;
UPDATE ordersaga_saga
SET status = 'CONFIRMED', refusal = NULL, refused_by = NULL, reason = NULL, refused_with = NULL
WHERE status = 'ROLLED_BACK' AND id > (SELECT saga FROM priced WHERE n = (SELECT max(n) / 4 FROM priced));
UPDATE ordersaga_saga SET refusal = 'OrderExpired' WHERE id IN (
    SELECT id FROM ordersaga_saga WHERE status = 'ROLLED_BACK' ORDER BY id LIMIT 3);
UPDATE ordersaga_saga SET ended_at = NULL, attention = 'stuck' WHERE id IN (
    SELECT id FROM ordersaga_saga WHERE status = 'CONFIRMED' ORDER BY id LIMIT 3);
SET LOCAL session_replication_role = origin;
"""

_DEAD_LETTERS = f"""
INSERT INTO audit_deadletter (source, key, participant, saga_id, step, topic, error, message, traceback, body,
    digest, headers, attempts, outcome, settled_at, settled_by, settled_why)
SELECT CASE n % 400 WHEN 0 THEN 'broker' WHEN 1 THEN 'unheard' ELSE 'participant' END, md5(n::text),
    CASE n % 500 WHEN 0 THEN 'loyalty' ELSE 'inventory' END, coalesce(saga, gen_random_uuid()),
    CASE n % 300 WHEN 0 THEN NULL WHEN 1 THEN 'a.b' ELSE 'inventory.reserve_stock' END,
    'signal.OrderPlaced', CASE n % 700 WHEN 0 THEN 'ValueError' ELSE 'RuntimeError' END, 'no stock',
    repeat('traceback ', 50), 'body', md5(n::text), '{{}}', 5, o.outcome, o.at, o.by, o.by
FROM generate_series(1, {DEAD_LETTERS}) AS n LEFT JOIN (
    SELECT row_number() OVER (ORDER BY n) AS n, saga FROM opened WHERE n % 50 = 8
) AS stuck USING (n),
LATERAL (SELECT CASE n % 900 WHEN 0 THEN 'replayed' WHEN 1 THEN 'discarded' END AS outcome,
    CASE WHEN n % 900 < 2 THEN now() END AS at, CASE WHEN n % 900 < 2 THEN 'staff 1' END AS by) AS o;
"""

_PRODUCTS = f"""
INSERT INTO orders_product
SELECT 'P-' || n, 'Thing ' || n, 100, 'EUR' FROM generate_series(1, {PRODUCTS}) AS n
"""

ORDERS_RARE = (_OPEN, _OLD, _DEAD_LETTERS, _PRODUCTS)
INVENTORY_RARE = (f"INSERT INTO product (sku) SELECT 'P-' || n FROM generate_series(1, {PRODUCTS}) AS n",)
