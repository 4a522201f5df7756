"""What the payments database holds. The rules that are triggers stand in the first migration."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Constraints have names, so that an error names the rule."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_key",
            "fk": "%(table_name)s_%(column_0_name)s_known",
            "ck": "%(table_name)s_%(constraint_name)s",
        }
    )


class Kind(StrEnum):
    """Of a ledger transaction."""

    TOP_UP = "top_up"
    CHARGE = "charge"
    REFUND = "refund"


class Wallet(Base):
    """A customer's money, in one currency; ``balance`` is the sum of the ledger's entries on
    ``wallet:<customer>``.
    """

    __tablename__ = "wallet"
    __table_args__ = (
        CheckConstraint("balance >= 0", "balance_not_negative"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", "currency_is_a_code"),
        CheckConstraint("order_limit >= 0", "order_limit_not_negative"),
        # balances change all the time: room in the page keeps the index out of it
        {"postgresql_with": {"fillfactor": 50}},
    )

    customer: Mapped[str] = mapped_column(Text, primary_key=True)
    currency: Mapped[str] = mapped_column(Text)
    balance: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    blocked: Mapped[bool] = mapped_column(server_default=text("false"))
    order_limit: Mapped[int | None] = mapped_column(BigInteger)
    """The most that one order may cost, if there is a most."""


class LedgerTransaction(Base):
    """One movement of money, append-only; its entries sum to zero. A free order's charge has no entries.

    Top-ups belong to no saga and no order; a saga is charged once at most, and refunded once at most.
    """

    __tablename__ = "ledger_transaction"
    __table_args__ = (
        UniqueConstraint("saga_id", "kind", name="ledger_transaction_once"),
        CheckConstraint("kind IN ('top_up', 'charge', 'refund')", "kind_known"),
        CheckConstraint("(kind = 'top_up') = (saga_id IS NULL)", "top_ups_have_no_saga"),
        CheckConstraint("(kind = 'top_up') = (order_number IS NULL)", "top_ups_have_no_order"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    saga_id: Mapped[str | None] = mapped_column(UUID(as_uuid=False))
    kind: Mapped[str] = mapped_column(Text)
    order_number: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())


class LedgerEntry(Base):
    """What a transaction adds to an account, append-only: ``wallet:<customer>``, ``sales`` or ``funding``.

    A transaction's entries are inserted by one statement, at whose end a trigger has them sum to zero per
    currency.
    """

    __tablename__ = "ledger_entry"
    __table_args__ = (CheckConstraint("amount <> 0", "amount_not_zero"),)

    transaction_id: Mapped[int] = mapped_column(ForeignKey(LedgerTransaction.id), primary_key=True)
    account: Mapped[str] = mapped_column(Text, primary_key=True)
    currency: Mapped[str] = mapped_column(Text, primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)
