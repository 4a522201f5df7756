"""Short constructors and checks for the tests of inventory and payments."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from workers.inventory import stock
from workers.payments.gateway import Charge, WalletGateway
from workers.signals import Decline, Line, OrderPlaced


def saga_id(number: int) -> str:
    return f"01890000-0000-7000-8000-{number:012d}"


def order_placed(*goods: tuple[str, int]) -> OrderPlaced:
    lines = tuple(Line(sku=sku, quantity=quantity, amount=100) for sku, quantity in goods)
    return OrderPlaced(order="O-1", customer="ada", currency="EUR", amount=100 * len(lines), lines=lines)


def add_stock(db: Session, **goods: int) -> None:
    stock.receive(db, goods)


def stock_counters(db: Session, sku: str) -> dict[str, int]:
    row = db.execute(
        text("SELECT received, on_hand, held, sold FROM product WHERE sku = :sku"), {"sku": sku}
    ).one()
    return dict(row._mapping)


def find_stock_mismatches(db: Session) -> list[str]:
    """Return the SKUs whose counters differ from the sum of their movements or reservations."""
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


def charge_of(number: int, amount: int, customer: str = "ada", currency: str = "EUR") -> Charge:
    return Charge(saga_id(number), f"O-{number}", customer, currency, amount)


def charge_wallets(db: Session, *charges: Charge) -> dict[str, Decline]:
    return WalletGateway(db).charge(charges)


def refund_sagas(db: Session, *numbers: int) -> None:
    WalletGateway(db).refund([saga_id(number) for number in numbers])


def wallet_balance(db: Session, customer: str = "ada") -> int:
    return int(db.scalars(text("SELECT balance FROM wallet WHERE customer = :c"), {"c": customer}).one())


def ledger_entries(db: Session, number: int) -> list[tuple[str, str | None, int | None]]:
    """Return kind, account and amount of each ledger entry of a saga."""
    found = db.execute(
        text("""
            SELECT kind, account, amount FROM ledger_transaction LEFT JOIN ledger_entry ON transaction_id = id
            WHERE saga_id = :saga ORDER BY id, account
        """),
        {"saga": saga_id(number)},
    )
    return [(row.kind, row.account, row.amount) for row in found]


def find_ledger_mismatches(db: Session) -> list[str]:
    """Return transactions that do not balance, and customers whose wallet differs from the ledger."""
    return list(
        db.scalars(
            text("""
            SELECT transaction_id::text FROM ledger_entry
            GROUP BY transaction_id, currency HAVING sum(amount) <> 0
            UNION ALL
            SELECT customer FROM wallet LEFT JOIN ledger_entry ON account = 'wallet:' || customer
            GROUP BY customer, balance HAVING balance <> coalesce(sum(amount), 0)
            """)
        )
    )
