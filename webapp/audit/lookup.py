"""From whatever somebody holds in hand to the saga it belongs to."""

from __future__ import annotations

from uuid import UUID

from django.contrib import admin
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from webapp.admin.base import parse_number, parse_uuid
from webapp.audit.models import SagaEvent
from webapp.flower.links import flower_task_url
from webapp.orders.models import KEY_LENGTH, Order, Saga

ID_KINDS = "order number, saga id, event id, task id, idempotency key"
"""What :func:`find_saga` takes, in the order of trying."""


def find_saga(term: str) -> UUID | None:
    """The saga of an order number, saga id, event id, task id or idempotency key; each is looked up by its
    index.

    A task works on many sagas at once: the first that it told of is given.
    """
    term = term.strip()
    number, id_ = parse_number(term), parse_uuid(term)
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


NEEDED_PERMISSIONS = ("orders.view_order", "orders.view_saga", "audit.view_sagaevent")
MAX_SAGAS = 20
"""Sagas of a task that are named; a task works on some hundred."""


def look_up(request: HttpRequest, term: str) -> HttpResponse:
    """To the order of an order number or idempotency key, the saga of a saga's or event's id; a task has a
    page of both.
    """
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path(), reverse("admin:login"))
    if not (admin.site.has_permission(request) and request.user.has_perms(NEEDED_PERMISSIONS)):
        raise PermissionDenied
    term = term.strip().rstrip("/")
    context = {**admin.site.each_context(request), "term": term}
    if sagas := _sagas_of_task(term):
        context |= {
            "title": "A task",
            "task_url": flower_task_url(str(parse_uuid(term))),
            "sagas": sagas,
            "limit": MAX_SAGAS,
        }
        return render(request, "flower/task.html", context)
    saga = find_saga(term)
    if saga is None:
        return render(
            request,
            "flower/unknown.html",
            {**context, "title": "Nothing of that id", "tried": ID_KINDS},
            status=404,
        )
    id_ = parse_uuid(term)
    order = Order.objects.filter(saga_id=saga).values_list("id", flat=True).first() if id_ is None else None
    kind, key = ("saga", saga) if order is None else ("order", order)
    return HttpResponseRedirect(reverse(f"admin:orders_{kind}_change", args=[key]))


def _sagas_of_task(term: str) -> list[dict[str, object]]:
    """The first sagas that a task told of, with their orders; a saga may be of no order."""
    task = parse_uuid(term) if parse_number(term) is None else None
    if task is None:
        return []
    told = SagaEvent.objects.filter(task_id=str(task)).order_by("saga_id").values_list("saga_id", flat=True)
    sagas = list(told.distinct()[:MAX_SAGAS])
    orders = dict(Order.objects.filter(saga_id__in=sagas).values_list("saga_id", "id"))
    return [{"id": saga, "order": orders.get(saga)} for saga in sagas]
