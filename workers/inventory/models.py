"""The tables of the inventory database; the first migration also creates triggers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    SmallInteger,
    Text,
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


class State(StrEnum):
    """The state of a reservation: held, then released or shipped."""

    HELD = "held"
    RELEASED = "released"
    SHIPPED = "shipped"


class Kind(StrEnum):
    """The kind of a movement: ``received`` adds stock, the others change the state of a saga's units."""

    RECEIVED = "received"
    HELD = "held"
    RELEASED = "released"
    SHIPPED = "shipped"


class Product(Base):
    """The counters of an SKU: the state of all units ever received. Rows are never deleted."""

    __tablename__ = "product"
    __table_args__ = (
        CheckConstraint("received >= 0", "received_not_negative"),
        CheckConstraint("on_hand >= 0", "on_hand_not_negative"),
        CheckConstraint("held >= 0", "held_not_negative"),
        CheckConstraint("sold >= 0", "sold_not_negative"),
        CheckConstraint("on_hand + held + sold = received", "nothing_lost"),
        # free space in each page allows HOT updates of counters, which change no index
        {"postgresql_with": {"fillfactor": 50}},
    )

    sku: Mapped[str] = mapped_column(Text, primary_key=True)
    received: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    on_hand: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    held: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    sold: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class Reservation(Base):
    """The reserved stock of one line of a saga's order; lines count from 1.

    A trigger allows one end: released or shipped.
    """

    __tablename__ = "reservation"
    __table_args__ = (
        CheckConstraint("line > 0", "line_counts_from_one"),
        CheckConstraint("quantity > 0", "quantity_positive"),
        CheckConstraint("state IN ('held', 'released', 'shipped')", "state_known"),
        # a reservation is updated once: free space in its page allows a HOT update
        {"postgresql_with": {"fillfactor": 50}},
    )

    saga_id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True)
    line: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    order_number: Mapped[str] = mapped_column(Text)
    sku: Mapped[str] = mapped_column(ForeignKey(Product.sku))
    quantity: Mapped[int]
    state: Mapped[str] = mapped_column(Text, server_default=State.HELD)
    at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())


SAGAS_ONLY = text("saga_id IS NOT NULL")


class Movement(Base):
    """The append-only ledger of units; its sums by SKU equal the product's counters.

    received = Σ received · held = Σ held - Σ released - Σ shipped · sold = Σ shipped · on hand = the rest.
    A saga's lines of one SKU are one row; ``saga_id`` is null only for receipts.
    """

    __tablename__ = "movement"
    __table_args__ = (
        CheckConstraint("kind IN ('received', 'held', 'released', 'shipped')", "kind_known"),
        CheckConstraint("(kind = 'received') = (saga_id IS NULL)", "receipts_have_no_saga"),
        CheckConstraint("quantity > 0", "quantity_positive"),
        # a saga's units of one SKU are held once, and are released or shipped once
        Index(
            "movement_once",
            "saga_id",
            "sku",
            text("(kind = 'held')"),
            unique=True,
            postgresql_where=SAGAS_ONLY,
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    sku: Mapped[str] = mapped_column(Text)
    saga_id: Mapped[str | None] = mapped_column(UUID(as_uuid=False))
    kind: Mapped[str] = mapped_column(Text)
    quantity: Mapped[int]
    at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=func.now())
