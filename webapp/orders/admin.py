"""Orders and sagas to look at."""

# ruff: noqa: ARG002 - Django hands its hooks more than each needs

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from webapp.orders.models import CancelRequest, Order, OrderLine, Product, Saga
from webapp.read_only import ReadOnly, ReadOnlyAdmin, as_number, as_uuid
from webapp.shown import moment, money, story, unbroken


class Open(admin.SimpleListFilter):
    """Sagas under way, or ended; ``path`` leads from the listed model to the saga."""

    title = "open"
    parameter_name = "open"
    path = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "under way"), ("no", "ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("yes", "no"):
            return queryset.filter(**{f"{self.path}ended_at__isnull": self.value() == "yes"})
        return queryset


class Attention(admin.SimpleListFilter):
    """Sagas that a human should look at."""

    title = "attention"
    parameter_name = "attention"
    path = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "needed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.path}attention__isnull": False}) if self.value() == "yes" else queryset


class OrderOpen(Open):
    path = "saga__"


class OrderAttention(Attention):
    path = "saga__"


class LineInline(ReadOnly, admin.TabularInline):
    model = OrderLine
    extra = 0
    fields = ("number", "product_id", "quantity", "amount")
    readonly_fields = fields


class CancelInline(ReadOnly, admin.StackedInline):
    model = CancelRequest
    extra = 0


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    list_display = ("id", "shown_customer", "total", "status", "reason", "placed", "confirmed")
    list_filter = ("saga__status", OrderOpen, OrderAttention)
    list_select_related = ("saga",)
    ordering = ("-id",)
    search_fields = ("customer",)  # shows the search box; get_search_results decides
    search_help_text = "order number, customer or saga id"
    inlines = (LineInline, CancelInline)
    readonly_fields = ("story",)

    @admin.display(ordering="customer", description="customer")
    def shown_customer(self, order: Order) -> str:
        return unbroken(order.customer)

    @admin.display(ordering="amount")
    def total(self, order: Order) -> str:
        return money(order.amount, order.currency)

    @admin.display(ordering="saga__status")
    def status(self, order: Order) -> str:
        return unbroken(order.saga.get_status_display())

    @admin.display(ordering="placed_at")
    def placed(self, order: Order) -> str | None:
        return moment(order.placed_at)

    @admin.display(ordering="confirmed_at")
    def confirmed(self, order: Order) -> str | None:
        return moment(order.confirmed_at)

    @admin.display
    def story(self, order: Order) -> str:
        return story(order.saga_id)

    @admin.display
    def reason(self, order: Order) -> str:
        return order.saga.attention or order.saga.reason or ""

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        return queryset.filter(_found(search_term)), False


@admin.register(Saga)
class SagaAdmin(ReadOnlyAdmin):
    list_display = ("shown_id", "order", "shown_status", "reason", "attention", "started", "ended")
    readonly_fields = ("story",)
    list_filter = ("status", Open, Attention, "refusal")
    list_select_related = ("order",)
    ordering = ("-id",)
    search_fields = ("order__customer",)
    search_help_text = "order number, customer or saga id"

    @admin.display(ordering="id", description="id")
    def shown_id(self, saga: Saga) -> str:
        return unbroken(saga.id)

    @admin.display(ordering="status", description="status")
    def shown_status(self, saga: Saga) -> str:
        return unbroken(saga.get_status_display())

    @admin.display(ordering="started_at")
    def started(self, saga: Saga) -> str | None:
        return moment(saga.started_at)

    @admin.display(ordering="ended_at")
    def ended(self, saga: Saga) -> str | None:
        return moment(saga.ended_at)

    @admin.display
    def story(self, saga: Saga) -> str:
        return story(saga.id)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Saga], search_term: str
    ) -> tuple[QuerySet[Saga], bool]:
        return queryset.filter(_found(search_term, "order__", "")), False


@admin.register(Product)
class ProductAdmin(ReadOnlyAdmin):
    list_display = ("sku", "name", "cost")
    search_fields = ("^sku", "^name")
    ordering = ("sku",)

    @admin.display(ordering="price", description="price")
    def cost(self, product: Product) -> str:
        return money(product.price, product.currency)


def _found(term: str, order: str = "", saga: str = "saga__") -> Q:
    """What somebody means by ``term``; each kind has its index, and what is neither number nor id is a customer."""
    term = term.strip()
    if not term:
        return Q()
    if (number := as_number(term)) is not None:
        return Q(**{f"{order}id": number}) | Q(**{f"{order}customer": term})
    if (saga_id := as_uuid(term)) is not None:
        return Q(**{f"{saga}id": saga_id})
    return Q(**{f"{order}customer__startswith": term})
