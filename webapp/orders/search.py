"""Search orders and sagas; every kind of search term has an index."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from webapp.admin.base import parse_number, parse_uuid
from webapp.audit.models import SagaEvent
from webapp.orders.models import Order

SEARCH_HELP = "order number, customer (or the beginning of the name), saga id, event id or task id"
MAX_TASK_SAGAS = 1000
"""The most sagas found for one task; an envelope holds about 400 signals."""


def filter_orders(term: str) -> Q:
    """Return the condition that selects the orders matching ``term``."""
    term = term.strip()
    if not term:
        return Q()
    if (number := parse_number(term)) is not None:
        return Q(id=number) | Q(customer=term)
    if (id_ := parse_uuid(term)) is not None:
        return Q(saga_id__in=_find_sagas(id_))
    return Q(customer__startswith=term)


def filter_sagas(term: str) -> Q:
    """Return the condition that selects the sagas matching ``term``."""
    term = term.strip()
    if not term:
        return Q()
    if (id_ := parse_uuid(term)) is not None:
        return Q(id__in=_find_sagas(id_))
    orders: QuerySet[Order] = Order.objects.filter(filter_orders(term))
    return Q(id__in=orders.values("saga_id"))


def _find_sagas(id_: UUID) -> list[UUID]:
    """Return ``id_`` itself and the sagas of the event or task with this id."""
    sagas = SagaEvent.objects.values_list("saga_id", flat=True).order_by()
    found = sagas.filter(event_id=id_).union(sagas.filter(task_id=str(id_))[: MAX_TASK_SAGAS * 5])
    return [id_, *found[:MAX_TASK_SAGAS]]
