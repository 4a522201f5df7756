"""The catalogue: which products are sold, for how much, and how a list of products changes it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, NamedTuple

from django.db import transaction
from pydantic import AfterValidator, Field

from ordersaga.signal import Part
from webapp.admin.formatting import decimals
from webapp.orders.models import NAME_LENGTH, Product
from workers.signals import Currency, Money, Sku

COMPARED = ("name", "price", "currency", "active")


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("contains control characters, or spaces at an end")
    return text


class NewProduct(Part):
    """A product as a list states it; ``price`` is in minor units, for one."""

    sku: Sku
    name: Annotated[str, Field(min_length=1, max_length=NAME_LENGTH), AfterValidator(_printable)]
    price: Money
    currency: Currency = "EUR"
    active: bool = True


class Changes(NamedTuple):
    """How many products of a list are new, changed and unchanged, and some SKUs of the first two kinds."""

    new: int
    changed: int
    unchanged: int
    examples: list[str]


EXAMPLES = 10
BATCH = 1000


def update_catalogue(products: Sequence[NewProduct], *, dry_run: bool = False) -> Changes:
    """Add the products that are new, change those that differ, in one transaction.

    Products that the list does not name stay as they are. Orders that were placed keep their prices.

    :param products: no SKU twice.
    :param dry_run: only count.
    """
    new: list[str] = []
    changed: list[str] = []
    # in the order of SKUs: two imports wait for each other and never deadlock
    ordered = sorted(products, key=lambda product: product.sku)
    with transaction.atomic():
        for start in range(0, len(ordered), BATCH):
            batch = {product.sku: product for product in ordered[start : start + BATCH]}
            rows = Product.objects.filter(sku__in=list(batch)).order_by("sku")
            known = {row.sku: row for row in (rows if dry_run else rows.select_for_update())}
            differing = [sku for sku, row in known.items() if _differs(batch[sku], row)]
            added = [sku for sku in batch if sku not in known]
            if not dry_run:
                Product.objects.bulk_create(
                    [Product(**batch[sku].model_dump()) for sku in sorted([*added, *differing])],
                    update_conflicts=True,
                    unique_fields=["sku"],
                    update_fields=COMPARED,
                )
            new += added
            changed += differing
    unchanged = len(ordered) - len(new) - len(changed)
    return Changes(len(new), len(changed), unchanged, [*new, *changed][:EXAMPLES])


def _differs(product: NewProduct, row: Product) -> bool:
    return any(getattr(product, field) != getattr(row, field) for field in COMPARED)


def minor_units(price: Decimal, currency: str) -> int:
    """A decimal price in minor units: 4.50 EUR is 450.

    :raises ValueError: when the currency has fewer decimals than the price.
    """
    digits = decimals(currency)
    scaled = price.scaleb(digits)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"has more decimals than {currency} ({digits})")
    return int(scaled)
