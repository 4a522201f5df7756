"""What inventory does in the order saga: hold goods when an order is placed, ship them when it is
confirmed.
"""

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
    """Hold every line of each order, or none of it."""
    lacking = stock.hold(db, orders)
    said: dict[str, StockReserved | OutOfStock] = {}
    for saga, placed in orders.items():
        if saga in lacking:
            said[saga] = OutOfStock(order=placed.order, sku=lacking[saga])
        else:
            said[saga] = StockReserved(
                order=placed.order, customer=placed.customer, currency=placed.currency, amount=placed.amount
            )
    return Batch(said)


@reserve_stock.undo
def release_stock(held: Batch[StockReserved], db: Session) -> Batch[StockReleased]:
    """Put what was held back on hand."""
    stock.release(db, held)
    return Batch({saga: StockReleased(order=reserved.order) for saga, reserved in held.items()})


@inventory.step(retry=step_retry)
def ship_stock(confirmed: Batch[OrderConfirmed], db: Session) -> Batch[StockShipped]:
    """Count what was held as sold; nothing may refuse any more."""
    stock.ship(db, confirmed)
    return Batch({saga: StockShipped(order=order.order) for saga, order in confirmed.items()})
