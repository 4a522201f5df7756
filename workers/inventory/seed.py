"""Stock to begin with."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.orm import Session

from workers.inventory import stock
from workers.signals import Sku


def receive(session: Session, goods: Mapping[Sku, int]) -> int:
    """Fill each SKU up to so many units *on hand*, and give the number of units that had to arrive for it.

    Doing it twice adds nothing, and nothing is taken away where more is there. An SKU of 0 becomes known and
    is out of stock; to add units to what is there, use :func:`workers.inventory.stock.receive`.
    """
    stock.receive(session, dict.fromkeys(goods, 0))  # known, and locked for the rest of the transaction
    there = session.execute(
        text("SELECT sku, on_hand FROM product WHERE sku = ANY(:skus)"), {"skus": sorted(goods)}
    )
    missing = {sku: goods[sku] - on_hand for sku, on_hand in there if on_hand < goods[sku]}
    if missing:
        stock.receive(session, missing)
    return sum(missing.values())
