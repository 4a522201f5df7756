"""Validate an order against the signal ``OrderPlaced``, and price it from the catalogue."""

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
    "sku": "Use a SKU from the catalogue",
    "quantity": f"Give a whole number from 1 to {MAX_QUANTITY}",
    "amount": "Give a whole number of minor units, from 0 to 10**12",
    "customer": "Use the customer's key: 1 to 64 letters, digits and . _ : -",
    "currency": "Use a currency code such as EUR",
    "lines": f"Give 1 to {MAX_LINES} lines",
}


class Item(NamedTuple):
    """One line of an order. ``amount`` (minor units, for the line) replaces price × quantity."""

    sku: str
    quantity: int
    amount: int | None = None


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order to place; ``idempotency_key`` is chosen by the caller, at most 128 characters."""

    customer: str
    lines: Iterable[Item]
    idempotency_key: str
    currency: str = "EUR"


@dataclass(frozen=True, slots=True)
class PricedOrder:
    """A validated and priced order.

    :ivar digest: of the request, so that the same order keeps its digest when prices change.
    :ivar signal: its first signal, still without the order's number.
    :ivar prices: the catalogue's prices, one for each line.
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
    """The fields that are validated before prices are looked up."""

    currency: Currency


def price_orders(orders: Iterable[NewOrder]) -> list[PricedOrder]:
    """Validate and price ``orders`` with one query.

    :raises OrderRefused: for the first one that cannot be placed.
    """
    priced = []
    for result in price_each(orders):
        if isinstance(result, OrderRefused):
            raise result
        priced.append(result)
    return priced


def price_each(orders: Iterable[NewOrder]) -> list[PricedOrder | OrderRefused]:
    """Validate and price each of ``orders`` independently, with one query; the results keep their order."""
    read = [(order, _catch_refusal(_validate_lines, order)) for order in orders]
    skus = {item.sku for _, items in read if isinstance(items, list) for item in items}
    products = _load_products(skus) if skus else {}
    return [
        items if isinstance(items, OrderRefused) else _catch_refusal(_price, order, items, products)
        for order, items in read
    ]


def with_listed_lines(order: NewOrder) -> NewOrder:
    """Return the order with its lines as a list, which can be read twice; surplus lines are cut off."""
    return replace(order, lines=list(islice(order.lines, MAX_LINES + 1)))


def price_from_cache(order: NewOrder) -> PricedOrder | None:
    """Price an order with the prices that this process read last; the caller must check that they still hold.

    None when the cache lacks a product, or when the order would be refused with the cached prices.

    :raises OrderRefused: when the order cannot be placed with any prices.
    """
    items = _validate_lines(order)
    try:
        return _price(order, items, _cache)
    except OrderRefused:
        return None


_cache: dict[str, _Product] = {}
MAX_CACHED_PRODUCTS = 20_000
"""Products, some megabytes; a full cache is emptied."""


def _load_products(skus: Iterable[str]) -> dict[str, _Product]:
    """Load products without the ORM, whose model instances would cost more than the query."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sku, price, currency, active FROM orders_product WHERE sku = ANY(%s)", [list(skus)]
        )
        found = {sku: _Product(*columns) for sku, *columns in cursor.fetchall()}
    if len(_cache) >= MAX_CACHED_PRODUCTS:
        _cache.clear()
    _cache.update(found)
    return found


def _catch_refusal(function: Callable[A, T], *args: A.args, **kwargs: A.kwargs) -> T | OrderRefused:
    try:
        return function(*args, **kwargs)
    except OrderRefused as refused:
        return refused


def _validate_lines(order: NewOrder) -> list[Item]:
    """Validate all that needs no catalogue; return the lines."""
    key: object = order.idempotency_key
    if not isinstance(key, str) or not 0 < len(key) <= KEY_LENGTH or not key.isprintable():
        raise OrderRefused(
            "idempotency_key",
            "is empty, too long or unprintable",
            f"Use 1 to {KEY_LENGTH} printable characters",
        )
    if key.startswith(PRUNED_KEY_PREFIX):
        raise OrderRefused(
            "idempotency_key",
            f"begins with {PRUNED_KEY_PREFIX!r}, which is reserved for pruned keys",
            "Use another key",
        )
    items = [Item(*line) for line in islice(order.lines, MAX_LINES + 1)]
    if not 0 < len(items) <= MAX_LINES:
        raise OrderRefused("lines", "are too many" if items else "are missing", REMEDIES["lines"])
    _validate(OrderHeader, "", currency=order.currency)
    seen: set[str] = set()
    for number, (sku, quantity, amount) in enumerate(items):
        _validate(
            Line, f"lines[{number}].", sku=sku, quantity=quantity, amount=0 if amount is None else amount
        )
        if sku in seen:
            raise OrderRefused(
                f"lines[{number}].sku", f"{sku} is repeated", "Add up the quantities in one line"
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
    signal = _validate(
        OrderPlaced,
        "",
        order="0",
        customer=order.customer,
        currency=order.currency,
        amount=sum(line.amount for line in lines),
        lines=tuple(lines),
    )
    content = json.dumps([order.customer, order.currency, sorted(items, key=lambda item: item.sku)])
    return PricedOrder(order.idempotency_key, hashlib.sha256(content.encode()).hexdigest(), signal, prices)


def _validate(part: type[P], where: str, **fields: object) -> P:
    """Validate ``fields`` by the model of the signal, which holds all rules."""
    try:
        return part.model_validate(fields, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = str(fault["loc"][0]) if fault["loc"] else part.__name__
        raise OrderRefused(where + field, fault["msg"], REMEDIES.get(field, "Correct it")) from None
