"""What operators do to orders: place one to try the house, ask for one to be cancelled; told in the saga's story."""

from __future__ import annotations

from django.db import connection, transaction

from webapp.operators import ActRefused, required_reason
from webapp.orders.cancelling import cancel_order
from webapp.orders.draft import NewOrder
from webapp.orders.models import CancelRequest, Order, Saga
from webapp.orders.placing import place_orders
from webapp.orders.resuming import resume_saga
from workers.order_saga import order_operations


def cancel(order: int, *, by: str, reason: str) -> str:
    """Ask for an order to be cancelled; gives a sentence that says so. Its saga decides, and may find it too late.

    :param by: who does it, without personal data, such as ``staff 3``: it travels with the notice.
    :raises ActRefused: when the saga is no longer pending, or no reason is given.
    """
    reason = required_reason(reason)
    found = Order.objects.select_related("saga").filter(id=order).first()
    if found is None:
        raise ActRefused(f"There is no order {order}.")
    if found.saga.status != Saga.Status.PENDING:
        raise ActRefused(f"Order {order} is {found.saga.get_status_display()}: too late to cancel it.")
    with transaction.atomic():
        asked_before = CancelRequest.objects.filter(order=found).first()
        if asked_before is not None and asked_before.outcome is not None:
            raise ActRefused(f"Order {order}: cancelling was answered before, {asked_before.get_outcome_display()}.")
        cancel_order(found, by)
        order_operations.note(str(found.saga_id), "cancel asked", db=connection, by=by, reason=reason)
    if asked_before is not None:
        return f"Order {order}: {asked_before.asked_by} had asked for it to be cancelled; asked once more."
    return f"Order {order}: asked for it to be cancelled. Its saga decides; look at it again in a moment."


def place_test_order(order: NewOrder, *, by: str, reason: str) -> tuple[Order, bool]:
    """Place an order to try the house; the order, and whether this call placed it: the same key gives the same order back.

    :raises OrderError: when it cannot be placed as it is.
    :raises ActRefused: when no reason is given.
    """
    reason = required_reason(reason)
    with transaction.atomic():
        known = Order.objects.filter(idempotency_key=order.idempotency_key).exists()
        [placed] = place_orders([order])
        if not known:
            order_operations.note(str(placed.saga_id), "test order placed", db=connection, by=by, reason=reason)
    return placed, not known


def resume(saga: object, *, by: str, reason: str) -> str:
    """As :func:`resume_saga`; gives a sentence that says what was done."""
    resume_saga(saga, by=by, reason=reason)  # type: ignore[arg-type]
    return f"Saga {saga} is reminded now of what it waits for."
