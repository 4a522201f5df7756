"""The admin page that places a test order."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from webapp.admin.actions import ReasonForm, log_action
from webapp.operators import recorded_name
from webapp.orders.exceptions import OrderError, OrderRefused
from webapp.orders.models import Order, Product
from webapp.orders.pricing import Item, NewOrder
from webapp.orders.services import place_test_order
from workers.signals import MAX_QUANTITY

PERMISSION = "orders.place_order"
LINE_ROWS = 5
"""The lines of the form."""
MAX_SUGGESTIONS = 50
"""The most SKUs suggested while typing."""


class LineForm(forms.Form):
    sku = forms.CharField(label="SKU", max_length=64, widget=forms.TextInput(attrs={"list": "catalogue"}))
    quantity = forms.IntegerField(widget=forms.NumberInput(attrs={"min": 1, "max": MAX_QUANTITY}))


class TestOrderForm(ReasonForm):
    customer = forms.CharField(
        max_length=64,
        widget=forms.TextInput(attrs={"autofocus": True}),
        help_text="The customer's key, not a name. Payment is declined if no wallet has this key.",
    )
    currency = forms.CharField(max_length=3, initial="EUR")
    key = forms.CharField(
        max_length=64,
        widget=forms.HiddenInput,
        help_text="The idempotency key: submitting the form twice places one order.",
    )

    field_order = ("customer", "currency", "reason", "key")


Lines: type[Any] = forms.formset_factory(LineForm, extra=LINE_ROWS, max_num=LINE_ROWS, absolute_max=LINE_ROWS)


def place_test_order_view(site: admin.AdminSite, request: HttpRequest) -> HttpResponse:
    """Show the form, and place its order once when a valid form is submitted."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied(PERMISSION)
    sent = request.POST if request.method == "POST" else None
    form = TestOrderForm(sent, initial={"key": f"test-{uuid.uuid4()}"})
    lines = Lines(sent, prefix="lines")
    if sent is not None and all([form.is_valid(), lines.is_valid()]):
        try:
            return _place(
                request, form.cleaned_data, [line.cleaned_data for line in lines if line.has_changed()]
            )
        except OrderRefused as refused:
            form.add_error(refused.field if refused.field in form.fields else None, str(refused))
        except OrderError as error:
            form.add_error(None, str(error))
    context = {
        **site.each_context(request),
        "title": "Place a test order",
        "opts": Order._meta,
        "form": form,
        "lines": lines,
        "skus": list(Product.objects.order_by("sku").values_list("sku", flat=True)[:MAX_SUGGESTIONS]),
    }
    return TemplateResponse(request, "admin/orders/order/place.html", context)


def _place(request: HttpRequest, wanted: dict[str, Any], lines: list[dict[str, Any]]) -> HttpResponse:
    items = [Item(line["sku"], line["quantity"]) for line in lines]
    new = NewOrder(wanted["customer"], items, wanted["key"], wanted["currency"])
    with transaction.atomic():
        order, placed = place_test_order(new, by=recorded_name(request.user), reason=wanted["reason"])
        if placed:
            log_action(request, order, ADDITION, f"Test order. Reason: {wanted['reason']}")
    messages.success(
        request,
        f"Order {order.id} was placed." if placed else f"This form has already placed order {order.id}.",
    )
    return HttpResponseRedirect(reverse("admin:orders_order_change", args=[order.id]))
