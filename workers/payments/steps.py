"""The steps of ``payments``: charge an order whose stock is reserved, and refund it on a refusal."""

from __future__ import annotations

from sqlalchemy.orm import Session

from ordersaga import Batch, Participant
from ordersaga.contrib.sqlalchemy import SQLAlchemyDatabase
from workers.order_saga import step_retry
from workers.payments.gateway import Charge, Gateway, WalletGateway
from workers.settings import settings
from workers.signals import PaymentCharged, PaymentDeclined, PaymentRefunded, StockReserved

database = SQLAlchemyDatabase(settings().payments_database_url, direct=settings().payments_direct_url)
payments = participant = Participant("payments", database=database)


def gateway(db: Session) -> Gateway:
    return WalletGateway(db)


@payments.step(retry=step_retry)
def charge(reserved: Batch[StockReserved], db: Session) -> Batch[PaymentCharged | PaymentDeclined]:
    """Charge each order, or decline it."""
    declined = gateway(db).charge(
        [Charge(saga, s.order, s.customer, s.currency, s.amount) for saga, s in reserved.items()]
    )
    results: dict[str, PaymentCharged | PaymentDeclined] = {}
    for saga, signal in reserved.items():
        if saga in declined:
            results[saga] = PaymentDeclined(order=signal.order, cause=declined[saga])
        else:
            results[saga] = PaymentCharged(order=signal.order, currency=signal.currency, amount=signal.amount)
    return Batch(results)


@charge.undo
def refund(charged: Batch[PaymentCharged], db: Session) -> Batch[PaymentRefunded]:
    """Refund the amounts that the ledger recorded."""
    gateway(db).refund(charged.keys())
    return Batch({saga: PaymentRefunded(order=signal.order) for saga, signal in charged.items()})
