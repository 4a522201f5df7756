"""The tables of the payments database; the first migration also creates triggers."""

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
    """Gives each constraint a name, which errors then show."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_key",
            "fk": "%(table_name)s_%(column_0_name)s_known",
            "ck": "%(table_name)s_%(constraint_name)s",
        }
    )


class Kind(StrEnum):
    """The kind of a ledger transaction."""

    TOP_UP = "top_up"
    CHARGE = "charge"
    REFUND = "refund"


class Wallet(Base):
    """A customer's money in one currency; ``balance`` is the sum of the entries on ``wallet:<customer>``."""

    __tablename__ = "wallet"
    __table_args__ = (
        CheckConstraint("balance >= 0", "balance_not_negative"),
        CheckConstraint("currency ~ '^[A-Z]{3}$'", "currency_is_a_code"),
        CheckConstraint("order_limit >= 0", "order_limit_not_negative"),
        # free space in each page allows HOT updates of balances, which change no index
        {"postgresql_with": {"fillfactor": 50}},
    )

    customer: Mapped[str] = mapped_column(Text, primary_key=True)
    currency: Mapped[str] = mapped_column(Text)
    balance: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    blocked: Mapped[bool] = mapped_column(server_default=text("false"))
    order_limit: Mapped[int | None] = mapped_column(BigInteger)
    """The largest amount of one order; NULL: no limit."""


class LedgerTransaction(Base):
    """A movement of money, append-only; its entries sum to zero. A free order's charge has no entries.

    Top-ups have no saga and no order; a saga has at most one charge and one refund.
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
    """The change of an account: ``wallet:<customer>``, ``sales`` or ``funding``; append-only.

    One statement inserts all entries of a transaction; a trigger checks that they sum to zero by currency.
    """

    __tablename__ = "ledger_entry"
    __table_args__ = (CheckConstraint("amount <> 0", "amount_not_zero"),)

    transaction_id: Mapped[int] = mapped_column(ForeignKey(LedgerTransaction.id), primary_key=True)
    account: Mapped[str] = mapped_column(Text, primary_key=True)
    currency: Mapped[str] = mapped_column(Text, primary_key=True)
    amount: Mapped[int] = mapped_column(BigInteger)
