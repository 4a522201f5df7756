"""Find the saga or order that an id belongs to, and ``/admin/go/<id>``, which redirects there."""

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
"""The ids that :func:`find_saga` accepts, in the order of trying."""


def find_saga(term: str) -> UUID | None:
    """Find the saga that one of :data:`ID_KINDS` belongs to; each is looked up by its index.

    A task works on many sagas: one of them is returned.
    """
    term = term.strip()
    number, id_ = parse_number(term), parse_uuid(term)
    orders = Order.objects.values_list("saga_id", flat=True)
    if number is not None and (saga := orders.filter(id=number).first()):
        return saga
    if id_ is not None:
        if Saga.objects.filter(id=id_).exists():
            return id_
        events = SagaEvent.objects.values_list("saga_id", flat=True)
        if saga := events.filter(event_id=id_).first() or events.filter(task_id=str(id_)).first():
            return saga
    if 0 < len(term) <= KEY_LENGTH and term.isprintable():
        return orders.filter(idempotency_key=term).first()
    return None


NEEDED_PERMISSIONS = ("orders.view_order", "orders.view_saga", "audit.view_sagaevent")
MAX_SAGAS = 20
"""The most sagas of a task that its page names; a task works on some hundred."""


def look_up(request: HttpRequest, term: str) -> HttpResponse:
    """Redirect an order number or idempotency key to its order, and a saga or event id to its saga.

    A task gets a page that links to Flower and to its sagas.
    """
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path(), reverse("admin:login"))
    if not (admin.site.has_permission(request) and request.user.has_perms(NEEDED_PERMISSIONS)):
        raise PermissionDenied
    term = term.strip().rstrip("/")
    context = {**admin.site.each_context(request), "term": term}
    if sagas := _sagas_of_task(term):
        context |= {
            "title": "Task",
            "task_url": flower_task_url(str(parse_uuid(term))),
            "sagas": sagas,
            "limit": MAX_SAGAS,
        }
        return render(request, "flower/task.html", context)
    saga = find_saga(term)
    if saga is None:
        context |= {"title": "Id not found", "kinds": ID_KINDS}
        return render(request, "flower/unknown.html", context, status=404)
    order = None
    if parse_uuid(term) is None:
        order = Order.objects.filter(saga_id=saga).values_list("id", flat=True).first()
    kind, key = ("saga", saga) if order is None else ("order", order)
    return HttpResponseRedirect(reverse(f"admin:orders_{kind}_change", args=[key]))


def _sagas_of_task(term: str) -> list[dict[str, object]]:
    """The first sagas of a task, with the numbers of their orders; None for a saga without an order."""
    task = parse_uuid(term) if parse_number(term) is None else None
    if task is None:
        return []
    events = SagaEvent.objects.filter(task_id=str(task)).order_by("saga_id")
    sagas = list(events.values_list("saga_id", flat=True).distinct()[:MAX_SAGAS])
    orders = dict(Order.objects.filter(saga_id__in=sagas).values_list("saga_id", "id"))
    return [{"id": saga, "order": orders.get(saga)} for saga in sagas]
