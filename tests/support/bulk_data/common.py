"""What all three databases derive the rows of an order from: its lines, and its events."""

from __future__ import annotations

from collections.abc import Mapping

SKUS = 50
KEPT = "ending IN ('confirmed', 'free')"

# Ids of version 7 at the time of the order, so that indexes grow at their end, as they do in production.
ID = """
CREATE FUNCTION pg_temp.id_at(at timestamptz, name text) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(name), 1, 3)
        || '8' || substr(md5(name), 4, 15))::uuid
$$
"""
PLACED = """
CREATE TEMPORARY TABLE placed AS
SELECT n, n / 100 AS together, 'customer-' || n % current_setting('bulk.customers')::int AS customer,
    CASE WHEN n % 100 < 4 THEN 'declined' WHEN n % 100 < 7 THEN 'out of stock'
        WHEN n % 100 < 10 THEN 'cancelled' WHEN n % 100 = 10 THEN 'free' ELSE 'confirmed' END AS ending,
    pg_temp.id_at(at, n::text) AS saga, at
FROM generate_series(1, current_setting('bulk.orders')::int) AS n,
LATERAL (SELECT current_setting('bulk.last')::timestamptz
    - (current_setting('bulk.orders')::int - n) * interval '1 second' AS at) AS time
"""
LINES = f"""
CREATE TEMPORARY TABLE line AS
SELECT n, saga, ending, at, number,
    'SKU-' || (n * 7 + number * 13) % {SKUS} AS sku, 1 + (n + number) % 3 AS quantity,
    CASE WHEN ending = 'free' THEN 0 ELSE 500 * (1 + (n + number) % 3) END AS amount
FROM placed, generate_series(1, 1 + n % 3) AS number
"""
PRICED = """
CREATE TEMPORARY TABLE priced AS
SELECT placed.*, bill.amount, bill.lines,
    CASE ending WHEN 'declined' THEN 'PaymentDeclined' WHEN 'out of stock' THEN 'OutOfStock'
        WHEN 'cancelled' THEN 'OrderCancelled' END AS refusal,
    CASE ending WHEN 'declined' THEN 'payments' WHEN 'out of stock' THEN 'inventory'
        WHEN 'cancelled' THEN 'orders' END AS refuser
FROM placed JOIN (
    SELECT n, sum(amount) AS amount,
        jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity, 'amount', amount) ORDER BY number)
            AS lines
    FROM line GROUP BY n
) AS bill USING (n) ORDER BY n
"""
PREPARATION = (ID, PLACED, "ANALYZE placed", LINES, "ANALYZE line", PRICED, "ANALYZE priced")
"""Creates temporary tables of one connection, and the settings ``bulk.orders``, ``bulk.customers`` and
``bulk.last``, the time of the last order.
"""

# Time, name, participant, step, cause, and the orders that have the event.
_EVENTS = f"""
    (0, 'signal', 'OrderPlaced', 'orders', NULL, NULL, true),
    (1, 'signal', 'StockReserved', 'inventory', 'reserve_stock', 'OrderPlaced:orders',
        ending <> 'out of stock'),
    (2, 'signal', 'PaymentCharged', 'payments', 'charge', 'StockReserved:inventory', {KEPT}),
    (3, 'signal', 'OrderConfirmed', 'orders', 'confirm_order', 'PaymentCharged:payments', {KEPT}),
    (4, 'signal', 'StockShipped', 'inventory', 'ship_stock', 'OrderConfirmed:orders', {KEPT}),
    (5, 'notice', 'complete', 'orders', 'complete_order', 'StockShipped:inventory', {KEPT}),
    (2, 'refusal', 'PaymentDeclined', 'payments', 'charge', 'StockReserved:inventory', ending = 'declined'),
    (1, 'refusal', 'OutOfStock', 'inventory', 'reserve_stock', 'OrderPlaced:orders', ending = 'out of stock'),
    (2, 'refusal', 'OrderCancelled', 'orders', 'cancel', NULL, ending = 'cancelled'),
    (3, 'notice', 'undone', 'inventory', 'release_stock', refusing, ending IN ('declined', 'cancelled')),
    (3, 'signal', 'StockReleased', 'inventory', 'release_stock', refusing,
        ending IN ('declined', 'cancelled')),
    (3, 'notice', 'barred', 'orders', 'refusal', refusing, NOT {KEPT}),
    (3, 'notice', 'barred', 'inventory', 'refusal', refusing, NOT {KEPT}),
    (3, 'notice', 'barred', 'payments', 'refusal', refusing, ending IN ('out of stock', 'cancelled')),
    (3, 'answer', 'answer', 'orders', 'refusal', refusing, NOT {KEPT}),
    (3, 'answer', 'answer', 'inventory', 'refusal', refusing, NOT {KEPT}),
    (3, 'answer', 'answer', 'payments', 'refusal', refusing, NOT {KEPT}),
    (4, 'notice', 'rolled back', 'orders', 'refusal', 'answer:payments', NOT {KEPT})
"""
EVENTS = f"""
    SELECT n, together, saga, kind, name, participant, participant || '.' || step AS step,
        at + moment * interval '20 ms' AS at, pg_temp.id_at(at, n || ':' || name || ':' || participant) AS id,
        CASE WHEN cause IS NOT NULL THEN pg_temp.id_at(at, n || ':' || cause) END AS cause,
        CASE WHEN step IS NOT NULL THEN md5(participant || step || together)::uuid::text END AS task,
        CASE name WHEN 'OrderPlaced' THEN jsonb_build_object(
            'order', n::text, 'customer', customer, 'currency', 'EUR', 'amount', amount, 'lines', lines
        ) ELSE jsonb_build_object('order', n::text) END AS data
    FROM priced, LATERAL (SELECT refusal || ':' || refuser AS refusing) AS it,
    LATERAL (VALUES {_EVENTS}) AS row (moment, kind, name, participant, step, cause, applies) WHERE applies
"""
"""Selects every event of every order, by order. A hundred orders share tasks and packs."""


def packs(participant: str, numbers: Mapping[str, int]) -> str:
    """Return a statement that writes a participant's packs as its transactions would.

    The id of a pack is ten times its hundred, plus the number of its step in ``numbers``; 1 is the web's.
    """
    cases = " ".join(f"WHEN '{step}' THEN {number}" for step, number in numbers.items())
    return f"""
    INSERT INTO ordersaga_pack (id, topic, payload, created_at)
    SELECT 10 * together + CASE step {cases} ELSE 1 END, kind || '.' || name,
        json_build_object('participant', participant, 'step', step, 'task', task, 'attempt', 1, 'signals',
            json_agg(json_build_array(id, saga, cause, 1, at, 0, NULL, NULL, data) ORDER BY n))::text, max(at)
    FROM ({EVENTS}) AS event WHERE participant = '{participant}' AND kind IN ('signal', 'refusal')
    GROUP BY together, kind, name, participant, step, task ORDER BY together
    """


def journal(*rows: str, packs: Mapping[str, int]) -> str:
    """Return a statement that writes a participant's journal from pairs of step and state; a row that emitted
    points at its pack.
    """
    cases = " ".join(f"WHEN '{step}' THEN {number}" for step, number in packs.items())
    return f"""
    INSERT INTO ordersaga_journal (saga_id, step, state, pack_id, at)
    SELECT saga, step, state, CASE WHEN state IN ('done', 'undone', 'refused')
        THEN 10 * together + CASE step {cases} ELSE 1 END END, at
    FROM priced, LATERAL (VALUES {", ".join(rows)}) AS row (step, state) WHERE state IS NOT NULL
    """
