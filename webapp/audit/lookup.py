"""From whatever somebody holds in hand to the saga it belongs to."""

from __future__ import annotations

from uuid import UUID

from webapp.admin.base import as_number, as_uuid
from webapp.audit.models import SagaEvent
from webapp.orders.models import KEY_LENGTH, Order, Saga

TRIED = "order number, saga id, event id, task id, idempotency key"
"""What :func:`saga_of` takes, in the order of trying."""


def saga_of(term: str) -> UUID | None:
    """The saga of an order number, saga id, event id, task id or idempotency key; each is looked up by its
    index.

    A task works on many sagas at once: the first that it told of is given.
    """
    term = term.strip()
    number, id_ = as_number(term), as_uuid(term)
    if number is not None and (
        saga := Order.objects.filter(id=number).values_list("saga_id", flat=True).first()
    ):
        return saga
    if id_ is not None:
        if Saga.objects.filter(id=id_).exists():
            return id_
        if (
            saga := SagaEvent.objects.filter(event_id=id_).values_list("saga_id", flat=True).first()
        ) is not None:
            return saga
        if (
            saga := SagaEvent.objects.filter(task_id=str(id_)).values_list("saga_id", flat=True).first()
        ) is not None:
            return saga
    if 0 < len(term) <= KEY_LENGTH and term.isprintable():
        return Order.objects.filter(idempotency_key=term).values_list("saga_id", flat=True).first()
    return None
