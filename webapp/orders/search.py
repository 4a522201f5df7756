"""What somebody means by a term in a search box; each kind of it has its index."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from webapp.admin.base import as_number, as_uuid
from webapp.audit.models import SagaEvent
from webapp.orders.models import Order

HELP = "order number, customer (or how the name begins), saga id, event id or task id"
TASK_SAGAS = 1000
"""As many sagas of one task are found; an envelope holds some 400."""


def orders_for(term: str) -> Q:
    """Which orders ``term`` means."""
    term = term.strip()
    if not term:
        return Q()
    if (number := as_number(term)) is not None:
        return Q(id=number) | Q(customer=term)
    if (id_ := as_uuid(term)) is not None:
        return Q(saga_id__in=_sagas_of(id_))
    return Q(customer__startswith=term)


def sagas_for(term: str) -> Q:
    """Which sagas ``term`` means."""
    term = term.strip()
    if not term:
        return Q()
    if (id_ := as_uuid(term)) is not None:
        return Q(id__in=_sagas_of(id_))
    orders: QuerySet[Order] = Order.objects.filter(orders_for(term))
    return Q(id__in=orders.values("saga_id"))


def _sagas_of(id_: UUID) -> list[UUID]:
    """The saga with this id, or those that an event or task with this id was about."""
    events = SagaEvent.objects.values_list("saga_id", flat=True).order_by()
    told = events.filter(event_id=id_).union(events.filter(task_id=str(id_))[: TASK_SAGAS * 5])
    return [id_, *told[:TASK_SAGAS]]
