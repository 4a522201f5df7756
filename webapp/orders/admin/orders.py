"""The admin pages of orders."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, UUIDField
from django.db.models.expressions import RawSQL
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html

from webapp.admin.actions import Action, ActionAdmin
from webapp.admin.base import ReadOnly
from webapp.admin.formatting import format_duration, format_millisecond, format_money, format_second, nowrap
from webapp.operators import display_names
from webapp.orders import search, services, views
from webapp.orders.admin.sagas import attention_or_reason
from webapp.orders.filters import OrderAttentionFilter, OrderOpenFilter, OrderStatusFilter
from webapp.orders.models import CancelRequest, Order, OrderLine, Saga

# ruff: noqa: ARG002 - Django passes its hooks arguments that they do not need


class LineInline(ReadOnly, admin.TabularInline):
    model = OrderLine
    extra = 0
    fields = ("number", "sku", "quantity", "total")
    readonly_fields = fields

    @admin.display(description="SKU")
    def sku(self, line: OrderLine) -> str:
        return line.product_id

    @admin.display(description="amount")
    def total(self, line: OrderLine) -> str:
        return format_money(line.amount, line.order.currency)


class CancelInline(ReadOnly, admin.StackedInline):
    model = CancelRequest
    extra = 0
    fields = ("asked", "outcome", "answered_at")
    readonly_fields = fields

    @admin.display(description="requested")
    def asked(self, request: CancelRequest) -> str:
        operator = display_names([request.asked_by])[request.asked_by]
        return f"{operator}, {timezone.localtime(request.asked_at):%d %b %Y %H:%M:%S}"


@admin.register(Order)
class OrderAdmin(ActionAdmin):
    operator_actions = (
        Action(
            "cancel",
            "Cancel",
            "orders.cancel_order",
            "Sends a cancel request to the order's saga, which accepts it only while the order is pending.",
            services.request_cancellation,
            lambda order: order.saga.status == Saga.Status.PENDING,
        ),
    )
    change_list_template = "admin/orders/order/change_list.html"
    list_display = ("id", "shown_customer", "total", "status", "reason", "placed_on", "took")
    list_filter = (OrderStatusFilter, OrderOpenFilter, OrderAttentionFilter)
    list_select_related = ("saga",)
    ordering = ("-id",)
    search_fields = ("customer",)  # shows the search box; get_search_results decides
    search_help_text = search.SEARCH_HELP
    fields = (
        "id",
        "customer",
        "total",
        "status",
        "reason",
        "placed",
        "confirmed",
        "its_saga",
        "idempotency_key",
    )
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        place = self.admin_site.admin_view(
            lambda request: views.place_test_order_view(self.admin_site, request)
        )
        return [path("place/", place, name="orders_order_place"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        may = {"may_place": request.user.has_perm(views.PERMISSION)}
        return super().changelist_view(request, {**may, **(extra_context or {})})

    def keyset_order(self, queryset: QuerySet[Order], *, filtered: bool) -> tuple[QuerySet[Order], str]:
        """Sort a filtered list by saga id, which the filters' indexes contain; both ids follow the time of
        placing.

        Django would sort by the order's column, which is in no filter's index, and scan all orders for a rare
        status.
        """
        if not filtered:
            return super().keyset_order(queryset, filtered=filtered)
        by_saga = RawSQL('"ordersaga_saga"."id"', [], output_field=UUIDField())
        return queryset.select_related("saga").annotate(by_saga=by_saga), "-by_saga"

    def get_inlines(self, request: HttpRequest, obj: Order | None) -> list[Any]:
        asked = obj is not None and hasattr(obj, "cancel_request")
        return [LineInline, CancelInline] if asked else [LineInline]

    @admin.display(description="customer")
    def shown_customer(self, order: Order) -> str:
        return nowrap(order.customer)

    @admin.display
    def total(self, order: Order) -> str:
        return format_money(order.amount, order.currency)

    @admin.display
    def status(self, order: Order) -> str:
        return nowrap(order.saga.get_status_display())

    @admin.display
    def placed(self, order: Order) -> str | None:
        return format_millisecond(order.placed_at)

    @admin.display(description="placed")
    def placed_on(self, order: Order) -> str | None:
        return format_second(order.placed_at)

    @admin.display(description="confirmed after")
    def took(self, order: Order) -> str | None:
        return nowrap(format_duration(order.confirmed_at - order.placed_at)) if order.confirmed_at else None

    @admin.display
    def confirmed(self, order: Order) -> str | None:
        return format_millisecond(order.confirmed_at) or "not confirmed"

    @admin.display(description="saga")
    def its_saga(self, order: Order) -> str:
        link = reverse("admin:orders_saga_change", args=[order.saga_id])
        return format_html('<a href="{}">{}</a> (status and timeline)', link, order.saga_id)

    @admin.display
    def reason(self, order: Order) -> str:
        return attention_or_reason(order.saga)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        return queryset.filter(search.filter_orders(search_term)), False


# ruff: noqa: ARG002 - Django hands its hooks more than each needs
