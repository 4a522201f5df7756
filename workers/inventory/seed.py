"""Create sample stock."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.orm import Session

from workers.inventory import stock
from workers.signals import Sku


def receive(session: Session, goods: Mapping[Sku, int]) -> int:
    """Fill each SKU up to the given units *on hand*; return the number of added units.

    Idempotent; larger stock is not reduced. An SKU with 0 units is created and is out of stock. To add units,
    use :func:`workers.inventory.stock.receive`.
    """
    stock.receive(session, dict.fromkeys(goods, 0))  # creates and locks the SKUs
    there = session.execute(
        text("SELECT sku, on_hand FROM product WHERE sku = ANY(:skus)"), {"skus": sorted(goods)}
    )
    missing = {sku: goods[sku] - on_hand for sku, on_hand in there if on_hand < goods[sku]}
    if missing:
        stock.receive(session, missing)
    return sum(missing.values())
