"""The participant ``orders``: it holds the order's status and decides between confirm, expire and cancel.

The engine locks the sagas that are PENDING, runs a deciding step for those only, and then changes their
status, all in one transaction. Import after :func:`workers.django_setup.setup`.
"""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Now

from ordersaga import Batch, Participant
from ordersaga.contrib.django import DjangoDatabase
from ordersaga.signal import DeadlinePassed
from ordersaga.sql import array
from webapp.orders.models import CancelRequest, Order
from workers.order_saga import step_retry
from workers.settings import settings
from workers.signals import (
    CancelAsked,
    OrderCancelled,
    OrderConfirmed,
    OrderExpired,
    PaymentCharged,
    StockShipped,
)

orders = participant = Participant(
    "orders", database=DjangoDatabase("default", direct=settings().orders_direct_url)
)


# With one array parameter: the ORM would adapt each of 400 ids, which costs more than the update.
CONFIRM = "UPDATE orders_order SET confirmed_at = statement_timestamp() WHERE saga_id = ANY(%s::uuid[])"


@orders.step(decides=True, retry=step_retry)
def confirm_order(charged: Batch[PaymentCharged], db: BaseDatabaseWrapper) -> Batch[OrderConfirmed]:
    """Confirm the charged orders that are still PENDING."""
    with db.cursor() as cursor:
        cursor.execute(CONFIRM, [array(charged)])
    return Batch({saga: OrderConfirmed(order=signal.order) for saga, signal in charged.items()})


@confirm_order.undo
def revoke_confirmation(confirmed: Batch[OrderConfirmed]) -> None:
    """Revoke the confirmation, after shipping has failed for the last time."""
    Order.objects.filter(saga_id__in=confirmed).update(confirmed_at=None)


@orders.step(decides=True)
def expire_order(passed: Batch[DeadlinePassed]) -> Batch[OrderExpired]:
    """Expire the orders that are still PENDING at their deadline."""
    numbers = Order.objects.filter(saga_id__in=passed).values_list("saga_id", "id")
    return Batch({str(saga): OrderExpired(order=str(number)) for saga, number in numbers})


@orders.step(decides=True)
def cancel(asked: Batch[CancelAsked]) -> Batch[OrderCancelled]:
    """Cancel the orders that are still PENDING, at the customer's request."""
    _answer(asked, CancelRequest.Outcome.CANCELLED)
    return Batch({saga: OrderCancelled(order=signal.order) for saga, signal in asked.items()})


@cancel.too_late
def record_too_late(asked: Batch[CancelAsked]) -> None:
    """Record in the requests that their orders are no longer PENDING."""
    _answer(asked, CancelRequest.Outcome.TOO_LATE)


@orders.step
def complete_order(shipped: Batch[StockShipped]) -> None:
    """Declare the end: the engine completes a saga when the initiator consumes the pivot's signal."""


def _answer(asked: Batch[CancelAsked], outcome: CancelRequest.Outcome) -> None:
    numbers = [int(signal.order) for signal in asked.values()]
    CancelRequest.objects.filter(order__in=numbers, outcome=None).update(outcome=outcome, answered_at=Now())
