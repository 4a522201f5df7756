"""What the tests of inventory say to one another: orders in short, and an auditor who trusts nobody."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from workers.inventory import stock
from workers.signals import Line, OrderPlaced


def saga(number: int) -> str:
    return f"01890000-0000-7000-8000-{number:012d}"


def order(*goods: tuple[str, int]) -> OrderPlaced:
    lines = tuple(Line(sku=sku, quantity=quantity, amount=100) for sku, quantity in goods)
    return OrderPlaced(order="O-1", customer="ada", currency="EUR", amount=100 * len(lines), lines=lines)


def stocked(db: Session, **goods: int) -> None:
    stock.receive(db, goods)


def counters(db: Session, sku: str) -> dict[str, int]:
    row = db.execute(
        text("SELECT received, on_hand, held, sold FROM product WHERE sku = :sku"), {"sku": sku}
    ).one()
    return dict(row._mapping)


def unexplained(db: Session) -> list[str]:
    """The SKUs whose counters the movements, or the reservations, do not explain."""
    return list(
        db.scalars(
            text("""
            WITH moved AS (
                SELECT sku, coalesce(sum(quantity) FILTER (WHERE kind = 'received'), 0) AS received,
                    coalesce(sum(quantity) FILTER (WHERE kind = 'held'), 0) AS held,
                    coalesce(sum(quantity) FILTER (WHERE kind = 'released'), 0) AS released,
                    coalesce(sum(quantity) FILTER (WHERE kind = 'shipped'), 0) AS shipped
                FROM product LEFT JOIN movement USING (sku) GROUP BY sku
            ), kept AS (
                SELECT sku, coalesce(sum(quantity) FILTER (WHERE state = 'held'), 0) AS held,
                    coalesce(sum(quantity) FILTER (WHERE state = 'shipped'), 0) AS sold
                FROM product LEFT JOIN reservation USING (sku) GROUP BY sku
            )
            SELECT sku FROM product AS p JOIN moved AS m USING (sku) JOIN kept AS k USING (sku)
            WHERE (p.received, p.on_hand, p.held, p.sold) <>
                  (m.received, m.received - m.held + m.released, m.held - m.released - m.shipped, m.shipped)
               OR (p.held, p.sold) <> (k.held, k.sold)
            """)
        )
    )
