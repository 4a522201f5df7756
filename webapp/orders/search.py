"""What somebody means by a term in a search box; each kind of it has its index."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from webapp.admin.base import parse_number, parse_uuid
from webapp.audit.models import SagaEvent
from webapp.orders.models import Order

SEARCH_HELP = "order number, customer (or how the name begins), saga id, event id or task id"
MAX_TASK_SAGAS = 1000
"""As many sagas of one task are found; an envelope holds some 400."""


def filter_orders(term: str) -> Q:
    """Which orders ``term`` means."""
    term = term.strip()
    if not term:
        return Q()
    if (number := parse_number(term)) is not None:
        return Q(id=number) | Q(customer=term)
    if (id_ := parse_uuid(term)) is not None:
        return Q(saga_id__in=_find_sagas(id_))
    return Q(customer__startswith=term)


def filter_sagas(term: str) -> Q:
    """Which sagas ``term`` means."""
    term = term.strip()
    if not term:
        return Q()
    if (id_ := parse_uuid(term)) is not None:
        return Q(id__in=_find_sagas(id_))
    orders: QuerySet[Order] = Order.objects.filter(filter_orders(term))
    return Q(id__in=orders.values("saga_id"))


def _find_sagas(id_: UUID) -> list[UUID]:
    """The saga with this id, or those that an event or task with this id was about."""
    events = SagaEvent.objects.values_list("saga_id", flat=True).order_by()
    told = events.filter(event_id=id_).union(events.filter(task_id=str(id_))[: MAX_TASK_SAGAS * 5])
    return [id_, *told[:MAX_TASK_SAGAS]]
