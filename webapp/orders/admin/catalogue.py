"""The products' pages: to look at."""

# ruff: noqa: ARG002 - Django hands its hooks more than each needs

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from webapp.admin.base import ReadOnlyAdmin
from webapp.admin.formatting import money
from webapp.orders.models import Product


@admin.register(Product)
class ProductAdmin(ReadOnlyAdmin):
    list_display = ("sku", "name", "cost")
    search_fields = ("sku",)  # shows the search box; get_search_results decides
    search_help_text = "how the SKU or the name begins"
    ordering = ("sku",)
    fields = ("sku", "name", "cost")
    readonly_fields = fields

    @admin.display(description="price")
    def cost(self, product: Product) -> str:
        return money(product.price, product.currency)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Product], search_term: str
    ) -> tuple[QuerySet[Product], bool]:
        term = search_term.strip()
        return queryset.filter(
            Q(sku__startswith=term) | Q(name__startswith=term)
        ) if term else queryset, False
