"""The steps of ``inventory``: reserve stock when an order is placed, and ship it when it is confirmed."""

from __future__ import annotations

from sqlalchemy.orm import Session

from ordersaga import Batch, Participant
from ordersaga.contrib.sqlalchemy import SQLAlchemyDatabase
from workers.inventory import stock
from workers.order_saga import step_retry
from workers.settings import settings
from workers.signals import (
    OrderConfirmed,
    OrderPlaced,
    OutOfStock,
    StockReleased,
    StockReserved,
    StockShipped,
)

database = SQLAlchemyDatabase(settings().inventory_database_url, direct=settings().inventory_direct_url)
inventory = participant = Participant("inventory", database=database)


@inventory.step(retry=step_retry)
def reserve_stock(orders: Batch[OrderPlaced], db: Session) -> Batch[StockReserved | OutOfStock]:
    """Reserve all lines of each order, or refuse the order."""
    lacking = stock.hold(db, orders)
    results: dict[str, StockReserved | OutOfStock] = {}
    for saga, placed in orders.items():
        if saga in lacking:
            results[saga] = OutOfStock(order=placed.order, sku=lacking[saga])
        else:
            results[saga] = StockReserved(
                order=placed.order, customer=placed.customer, currency=placed.currency, amount=placed.amount
            )
    return Batch(results)


@reserve_stock.undo
def release_stock(held: Batch[StockReserved], db: Session) -> Batch[StockReleased]:
    """Release the reserved stock."""
    stock.release(db, held)
    return Batch({saga: StockReleased(order=signal.order) for saga, signal in held.items()})


@inventory.step(retry=step_retry)
def ship_stock(confirmed: Batch[OrderConfirmed], db: Session) -> Batch[StockShipped]:
    """Count the reserved stock as sold (the pivot)."""
    stock.ship(db, confirmed)
    return Batch({saga: StockShipped(order=signal.order) for saga, signal in confirmed.items()})
