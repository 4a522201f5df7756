"""An order before it is written: checked against the published language and priced from the catalogue."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple, ParamSpec, TypeVar

from django.db import connection
from pydantic import BaseModel, ValidationError

from ordersaga.signal import Part
from webapp.orders.exceptions import OrderRefused
from webapp.orders.models import KEY_LENGTH, PRUNED_KEY_PREFIX
from workers.signals import MAX_LINES, MAX_QUANTITY, Currency, Line, OrderPlaced

A = ParamSpec("A")
P = TypeVar("P", bound=BaseModel)
T = TypeVar("T")

REMEDIES = {
    "sku": "Use a SKU of the catalogue",
    "quantity": f"Order 1 to {MAX_QUANTITY} of it, as a whole number",
    "amount": "Give minor units, a whole number from 0 to 10**12",
    "customer": "Use the customer's key: 1 to 64 letters, digits and . _ : -",
    "currency": "Use a currency code such as EUR",
    "lines": f"Order 1 to {MAX_LINES} lines",
}


class Item(NamedTuple):
    """So many of one article. ``amount`` (minor units, the whole line) stands instead of price × quantity."""

    sku: str
    quantity: int
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order to be placed; ``idempotency_key`` is the caller's name for it, at most 128 characters."""

    customer: str
    lines: Iterable[Item]
    idempotency_key: str
    currency: str = "EUR"


@dataclass(frozen=True, slots=True)
class PricedOrder:
    """A checked and priced order, whose ``said`` still lacks its number.

    ``digest`` is of what was asked for, so that the same order stays the same when prices change. ``prices``
    are those of the catalogue, one for each line.
    """

    key: str
    digest: str
    signal: OrderPlaced
    prices: Sequence[int]


class _Product(NamedTuple):
    price: int
    currency: str
    active: bool


class OrderHeader(Part):
    """What must be right before prices are looked up."""

    currency: Currency


def price_orders(orders: Iterable[NewOrder]) -> list[PricedOrder]:
    """Check and price ``orders``; one query, whatever their number.

    :raises OrderRefused: for the first that cannot be placed.
    """
    found = []
    for judged in price_each(orders):
        if isinstance(judged, OrderRefused):
            raise judged
        found.append(judged)
    return found


def price_each(orders: Iterable[NewOrder]) -> list[PricedOrder | OrderRefused]:
    """Check and price each of ``orders`` by itself, in their order; one query, whatever their number."""
    read = [(order, _catch_refusal(_validate_lines, order)) for order in orders]
    skus = {item.sku for _, items in read if isinstance(items, list) for item in items}
    products = _load_products(skus) if skus else {}
    return [
        items if isinstance(items, OrderRefused) else _catch_refusal(_price, order, items, products)
        for order, items in read
    ]


def with_listed_lines(order: NewOrder) -> NewOrder:
    """The same, with as many of its lines as are ever read."""
    return replace(order, lines=list(islice(order.lines, MAX_LINES + 1)))


def price_from_cache(order: NewOrder) -> PricedOrder | None:
    """A draft by the prices that this process has read last, for whoever finds out whether they still hold.

    None when it knows none of a product, or when by what it knows the order would be refused.

    :raises OrderRefused: when the order cannot be placed, whatever the catalogue says.
    """
    items = _validate_lines(order)
    try:
        return _price(order, items, _cache)
    except OrderRefused:
        return None


_cache: dict[str, _Product] = {}
MAX_CACHED_PRODUCTS = 20_000
"""Products, some megabytes; when it knows so many, a process begins anew."""


def _load_products(skus: Iterable[str]) -> dict[str, _Product]:
    """Those of the catalogue. As models they would cost an order more than the query does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sku, price, currency, active FROM orders_product WHERE sku = ANY(%s)", [list(skus)]
        )
        found = {sku: _Product(*columns) for sku, *columns in cursor.fetchall()}
    if len(_cache) >= MAX_CACHED_PRODUCTS:
        _cache.clear()
    _cache.update(found)
    return found


def _catch_refusal(check: Callable[A, T], *args: A.args, **kwargs: A.kwargs) -> T | OrderRefused:
    try:
        return check(*args, **kwargs)
    except OrderRefused as refused:
        return refused


def _validate_lines(order: NewOrder) -> list[Item]:
    """The lines of ``order`` as far as they can be checked without the catalogue."""
    key: object = order.idempotency_key
    if not isinstance(key, str) or not 0 < len(key) <= KEY_LENGTH or not key.isprintable():
        raise OrderRefused(
            "idempotency_key", "is empty, too long or unprintable", f"Use 1 to {KEY_LENGTH} characters"
        )
    if key.startswith(PRUNED_KEY_PREFIX):
        raise OrderRefused(
            "idempotency_key", f"begins with {PRUNED_KEY_PREFIX}, as keys that were pruned do", "Use another"
        )
    items = [Item(*line) for line in islice(order.lines, MAX_LINES + 1)]
    if not 0 < len(items) <= MAX_LINES:
        raise OrderRefused("lines", "are too many" if items else "are none", REMEDIES["lines"])
    _validate(OrderHeader, "", currency=order.currency)
    seen: set[str] = set()
    for number, (sku, quantity, amount) in enumerate(items):
        _validate(
            Line, f"lines[{number}].", sku=sku, quantity=quantity, amount=0 if amount is None else amount
        )
        if sku in seen:
            raise OrderRefused(
                f"lines[{number}].sku", f"{sku} stands twice", "Add the quantities up in one line"
            )
        seen.add(sku)
    return items


def _price(order: NewOrder, items: Sequence[Item], products: Mapping[str, _Product]) -> PricedOrder:
    lines, prices = [], []
    for number, (sku, quantity, amount) in enumerate(items):
        product = products.get(sku)
        if product is None:
            raise OrderRefused(f"lines[{number}].sku", f"{sku} is not in the catalogue", REMEDIES["sku"])
        if not product.active:
            raise OrderRefused(f"lines[{number}].sku", f"{sku} is no longer sold", REMEDIES["sku"])
        if product.currency != order.currency:
            fault = f"{sku} is sold in {product.currency}, the order is in {order.currency}"
            raise OrderRefused(f"lines[{number}].sku", fault, "Place one order for each currency")
        whole = product.price * quantity if amount is None else amount
        lines.append(_validate(Line, f"lines[{number}].", sku=sku, quantity=quantity, amount=whole))
        prices.append(product.price)
    said = _validate(
        OrderPlaced,
        "",
        order="0",
        customer=order.customer,
        currency=order.currency,
        amount=sum(line.amount for line in lines),
        lines=tuple(lines),
    )
    content = json.dumps([order.customer, order.currency, sorted(items, key=lambda item: item.sku)])
    return PricedOrder(order.idempotency_key, hashlib.sha256(content.encode()).hexdigest(), said, prices)


def _validate(part: type[P], where: str, **fields: object) -> P:
    """Let the published language judge ``fields``; its rules are written there and nowhere else."""
    try:
        return part.model_validate(fields, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = str(fault["loc"][0]) if fault["loc"] else part.__name__
        raise OrderRefused(where + field, fault["msg"], REMEDIES.get(field, "Correct it")) from None
