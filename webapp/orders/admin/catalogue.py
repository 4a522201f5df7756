"""The products' pages: add a product, change its name and price, withdraw it."""

# ruff: noqa: ARG002 - Django hands its hooks more than each needs

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from pydantic import ValidationError

from webapp.admin.base import KeysetAdmin
from webapp.admin.formatting import decimals, format_money
from webapp.orders.catalogue import NewProduct, minor_units
from webapp.orders.models import Product


class ProductForm(forms.ModelForm):
    """A product whose price is a decimal number of the currency's units."""

    price = forms.DecimalField(min_value=0, help_text="for one, in units of the currency, such as 4.50")

    class Meta:
        model = Product
        fields = ("sku", "name", "price", "currency", "active")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            digits = decimals(self.instance.currency)
            self.initial["price"] = Decimal(self.instance.price).scaleb(-digits)
        else:
            self.initial.setdefault("currency", "EUR")

    def clean(self) -> dict[str, Any]:
        """Refuse what a file of products could not bring either, and take the price in minor units."""
        found = super().clean() or {}
        if self.errors:
            return found
        try:
            found["price"] = minor_units(found["price"], found["currency"])
            NewProduct(**{"sku": self.instance.sku, **found})
        except ValidationError as invalid:
            fault = invalid.errors(include_url=False, include_input=False)[0]
            self.add_error(str(fault["loc"][0]), str(fault["msg"]).removeprefix("Value error, "))
        except ValueError as error:
            self.add_error("price", f"The price {error}.")
        return found


@admin.register(Product)
class ProductAdmin(KeysetAdmin):
    form = ProductForm
    list_display = ("sku", "name", "cost", "active")
    search_fields = ("sku",)  # shows the search box; get_search_results decides
    search_help_text = "the beginning of the SKU or of the name"
    ordering = ("sku",)

    @admin.display(description="price")
    def cost(self, product: Product) -> str:
        return format_money(product.price, product.currency)

    def get_fields(self, request: HttpRequest, obj: Product | None = None) -> tuple[str, ...]:
        """Users who may not change a product see its formatted price instead of the stored minor units."""
        price = "price" if obj is None or self.has_change_permission(request, obj) else "cost"
        return ("sku", "name", price, *(() if price == "cost" else ("currency",)), "active")

    def get_readonly_fields(self, request: HttpRequest, obj: Product | None = None) -> tuple[str, ...]:
        """A SKU never changes: orders and stock refer to it."""
        return ("sku", "cost") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Product | None = None) -> bool:
        """Old orders name their products, so a product is withdrawn instead."""
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Product], search_term: str
    ) -> tuple[QuerySet[Product], bool]:
        term = search_term.strip()
        return queryset.filter(
            Q(sku__startswith=term) | Q(name__startswith=term)
        ) if term else queryset, False
