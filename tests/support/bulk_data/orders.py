"""Writes the orders database."""

from __future__ import annotations

from tests.support.bulk_data.common import EVENTS, KEPT, SKUS, journal, packs

PACKS = {"orders.confirm_order": 2, "orders.cancel": 3, "orders.complete_order": 4}
BARRED = f"CASE WHEN NOT {KEPT} THEN 'barred' END"
DONE = f"CASE WHEN {KEPT} THEN 'done' ELSE 'barred' END"

ORDERS = (
    # The row of an ended saga fills the half of a page that it got while open, which leaves no room for
    # another.
    "ALTER TABLE ordersaga_saga SET (fillfactor = 55)",
    f"""
    INSERT INTO ordersaga_saga (id, name, status, participants, pack_id, refusal, refused_by, reason,
        refused_with, deadline_at, started_at, moved_at, ended_at)
    SELECT saga, 'order', CASE WHEN {KEPT} THEN 'CONFIRMED' ELSE 'ROLLED_BACK' END,
        '{{orders,inventory,payments}}', 10 * together + 1, refusal, refuser,
        CASE ending WHEN 'declined' THEN 'Payment declined: not enough money'
            WHEN 'out of stock' THEN 'Out of stock: SKU-1' WHEN 'cancelled' THEN 'Cancelled by customer' END,
        CASE WHEN NOT {KEPT} THEN jsonb_build_object('order', n::text)::text END, at + interval '15 min', at,
        at + interval '100 ms', at + interval '100 ms' FROM priced
    """,
    "ALTER TABLE ordersaga_saga SET (fillfactor = 50)",
    f"""
    INSERT INTO orders_product
    SELECT 'SKU-' || n, 'Product ' || n, 500, 'EUR' FROM generate_series(0, {SKUS - 1}) AS n
    """,
    f"""
    INSERT INTO orders_order (id, saga_id, customer, currency, amount, placed_at, idempotency_key,
        content_digest, confirmed_at)
    SELECT n, saga, customer, 'EUR', amount, at, 'bulk:' || n, md5(n::text) || md5(lines::text),
        CASE WHEN {KEPT} THEN at + interval '60 ms' END FROM priced
    """,
    "SELECT setval(pg_get_serial_sequence('orders_order', 'id'), max(n)) FROM priced",
    """
    INSERT INTO orders_orderline (order_id, number, sku, quantity, amount)
    SELECT n, number, sku, quantity, amount FROM line
    """,
    """
    INSERT INTO orders_cancelrequest
    SELECT n, 'ann', at, 'cancelled', at FROM priced WHERE ending = 'cancelled'
    """,
    packs("orders", PACKS),
    journal(
        f"('orders.cancel', CASE WHEN ending = 'cancelled' THEN 'refused' WHEN NOT {KEPT} THEN 'barred' END)",
        f"('orders.complete_order', {DONE})",
        f"('orders.confirm_order', {DONE})",
        f"('orders.expire_order', {BARRED})",
        f"('orders.refusal', CASE WHEN NOT {KEPT} THEN 'heard' END)",
        packs=PACKS,
    ),
    "SELECT setval('ordersaga_pack_id', 10 * max(together) + 10) FROM priced",
    f"""
    INSERT INTO ordersaga_answer SELECT saga, name, at
    FROM priced, unnest('{{orders,inventory,payments}}'::text[]) AS name WHERE NOT {KEPT}
    """,
    f"""
    INSERT INTO audit_sagaevent (event_id, saga_id, cause, kind, name, participant, step, task_id, attempt,
        again, said_at, heard_at, data)
    SELECT id, saga, cause, kind, name, participant, step, task, 1, false, at, at + interval '10 ms', data
    FROM ({EVENTS}) AS event
    """,
)
