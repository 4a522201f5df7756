"""Writes the inventory database."""

from __future__ import annotations

from tests.support.bulk_data.common import KEPT, SKUS, journal, packs

PACKS = {"inventory.reserve_stock": 1, "inventory.ship_stock": 2, "inventory.release_stock": 3}
RESERVED = f"CASE WHEN {KEPT} THEN 'done' WHEN ending = 'out of stock' THEN 'refused' ELSE 'undone' END"
STATE = f"CASE WHEN {KEPT} THEN 'shipped' ELSE 'released' END"

INVENTORY = (
    f"""
    INSERT INTO product (sku, received, on_hand)
    SELECT 'SKU-' || n, 10^9, 10^9 FROM generate_series(0, {SKUS - 1}) AS n
    """,
    "INSERT INTO movement (sku, kind, quantity) SELECT sku, 'received', on_hand FROM product",
    f"""
    INSERT INTO reservation
    SELECT saga, number, n, sku, quantity, {STATE}, at FROM line WHERE ending <> 'out of stock'
    """,
    f"""
    INSERT INTO movement (sku, saga_id, kind, quantity, at)
    SELECT sku, saga, moved, quantity, at FROM line, LATERAL (VALUES ('held'), ({STATE})) AS row (moved)
    WHERE ending <> 'out of stock'
    """,
    f"""
    UPDATE product SET sold = n, on_hand = on_hand - n
    FROM (SELECT sku, sum(quantity) AS n FROM line WHERE {KEPT} GROUP BY sku) AS sold
    WHERE sold.sku = product.sku
    """,
    packs("inventory", PACKS),
    journal(
        f"('inventory.refusal', CASE WHEN NOT {KEPT} THEN 'heard' END)",
        f"('inventory.reserve_stock', {RESERVED})",
        f"('inventory.ship_stock', CASE WHEN {KEPT} THEN 'done' ELSE 'barred' END)",
        packs=PACKS,
    ),
    "SELECT setval('ordersaga_pack_id', 10 * max(together) + 10) FROM priced",
)
