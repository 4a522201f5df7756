"""Cancelling an order: the wish is recorded here, the orders pool decides."""

from __future__ import annotations

from django.db import connection, transaction

from webapp.orders.models import CancelRequest, Order
from workers.order_saga import order_saga
from workers.signals import CancelAsked


def cancel_order(order: Order, asked_by: str) -> CancelRequest:
    """Ask for ``order`` to be cancelled; the answer will stand in the request's ``outcome``: cancelled, or too late.

    Asking again gives the same request back; while it is unanswered, its signal is said once more, which is harmless.

    :param asked_by: who asks, at most 150 characters; the first to ask is kept.
    """
    with transaction.atomic():
        request, _ = CancelRequest.objects.get_or_create(order=order, defaults={"asked_by": asked_by})
        if request.outcome is None:
            order_saga.send(str(order.saga_id), CancelAsked(order=str(order.id)), db=connection)
    return request
