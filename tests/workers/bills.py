"""What the tests of payments say to one another: bills in short, and an auditor who trusts nobody."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from workers.payments.gateway import Charge, WalletGateway
from workers.signals import Decline


def saga(number: int) -> str:
    return f"01890000-0000-7000-8000-{number:012d}"


def bill(number: int, amount: int, customer: str = "ada", currency: str = "EUR") -> Charge:
    return Charge(saga(number), f"O-{number}", customer, currency, amount)


def take(db: Session, *charges: Charge) -> dict[str, Decline]:
    return WalletGateway(db).charge(charges)


def give_back(db: Session, *numbers: int) -> None:
    WalletGateway(db).refund([saga(number) for number in numbers])


def balance(db: Session, customer: str = "ada") -> int:
    return int(db.scalars(text("SELECT balance FROM wallet WHERE customer = :c"), {"c": customer}).one())


def entries(db: Session, number: int) -> list[tuple[str, str | None, int | None]]:
    """What the ledger has of a saga: kind, account and amount."""
    found = db.execute(
        text("""
            SELECT kind, account, amount FROM ledger_transaction LEFT JOIN ledger_entry ON transaction_id = id
            WHERE saga_id = :saga ORDER BY id, account
        """),
        {"saga": saga(number)},
    )
    return [(row.kind, row.account, row.amount) for row in found]


def unexplained(db: Session) -> list[str]:
    """Transactions that do not balance, and customers whose wallet the ledger does not explain."""
    return list(
        db.scalars(
            text("""
            SELECT transaction_id::text FROM ledger_entry GROUP BY transaction_id, currency HAVING sum(amount) <> 0
            UNION ALL
            SELECT customer FROM wallet LEFT JOIN ledger_entry ON account = 'wallet:' || customer
            GROUP BY customer, balance HAVING balance <> coalesce(sum(amount), 0)
            """)
        )
    )
