"""Read a file of products: CSV or JSON Lines, every bad line named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic import ValidationError

from webapp.ops.order_import.csv_table import read_table
from webapp.ops.order_import.json_lines import MalformedLine, parse_line
from webapp.ops.order_import.record import Fault, FileRefused, Lines
from webapp.orders.catalogue import NewProduct, minor_units

NEEDED, OPTIONAL = ("sku", "name", "price"), ("currency", "active")
BOOLEANS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
REMEDIES = {
    "sku": "Use 1 to 64 letters, digits and . _ -, beginning with a letter or digit",
    "name": "Write 1 to 200 printable characters",
    "price": "Write minor units, such as 450 for 4.50 EUR, or use --decimal-prices",
    "currency": "Write a currency code such as EUR, or leave the column out for EUR",
    "active": "Write yes or no, or leave it empty for yes",
}
DECIMAL = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,4})?")


class ProductList(NamedTuple):
    """The products of a file, and what is wrong with its other lines."""

    products: list[NewProduct]
    faults: list[Fault]


def read_products(lines: Lines, file_format: str, *, decimal_prices: bool = False) -> ProductList:
    """The whole file.

    :param file_format: ``csv`` or ``jsonl``.
    :param decimal_prices: prices are decimal numbers, such as 4.50, instead of minor units.
    :raises FileRefused: when it cannot be read at all, or names no product.
    """
    rows = read_table(lines, NEEDED, OPTIONAL) if file_format == "csv" else _json_rows(lines)
    products: dict[str, NewProduct] = {}
    places: dict[str, int] = {}
    faults: list[Fault] = []
    for line, values in rows:
        read = values if isinstance(values, Fault) else _product(line, values, decimal_prices=decimal_prices)
        if isinstance(read, Fault):
            faults.append(read)
        elif read.sku in places:
            fault = f"{read.sku} is in line {places[read.sku]} already"
            faults.append(Fault(line, "sku", fault, "Keep one of the two lines"))
        else:
            products[read.sku], places[read.sku] = read, line
    if not products and not faults:
        raise FileRefused("names no product")
    return ProductList(list(products.values()), faults)


def _json_rows(lines: Lines) -> Iterator[tuple[int, dict[str, Any] | Fault]]:
    remedy = (
        'Write one object like {"sku": "TEA", "name": "Tea", "price": 450, "currency": "EUR", "active": true}'
    )
    for line, text in lines:
        if isinstance(text, Fault):
            yield line, text
            continue
        try:
            values = parse_line(text, parse_float=Decimal)
        except MalformedLine as error:
            yield line, Fault(line, error.field, str(error), remedy)
            continue
        is_object = isinstance(values, dict)
        yield line, values if is_object else Fault(line, "line", "is not a JSON object", remedy)


def _product(line: int, values: dict[str, Any], *, decimal_prices: bool) -> NewProduct | Fault:
    if unknown := sorted(set(values) - {*NEEDED, *OPTIONAL}):
        return Fault(line, unknown[0][:40], "is an unknown field", f"Use {', '.join((*NEEDED, *OPTIONAL))}")
    given = {name: value for name, value in values.items() if value != "" or name in NEEDED}
    if isinstance(given.get("active"), str):
        given["active"] = BOOLEANS.get(given["active"].lower(), given["active"])
    price = str(given.get("price", ""))
    try:
        given["price"] = _price(price, str(given.get("currency", "EUR")), decimal_prices=decimal_prices)
    except ValueError as error:
        remedy = "Write a decimal number, such as 4.50" if decimal_prices else REMEDIES["price"]
        return Fault(line, "price", str(error), remedy)
    try:
        return NewProduct.model_validate(given, strict=True)
    except ValidationError as invalid:
        fault = invalid.errors(include_url=False, include_input=False)[0]
        field = str(fault["loc"][0])
        return Fault(line, field, _sentence(fault), REMEDIES.get(field, "Correct it"))


def _sentence(fault: Any) -> str:
    if fault["type"] == "missing":
        return "is missing"
    return "is not valid: " + str(fault["msg"]).removeprefix("Value error, ")


def _price(text: str, currency: str, *, decimal_prices: bool) -> int:
    if not text:
        raise ValueError("is missing")
    if not DECIMAL.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a price")
    if decimal_prices:
        return minor_units(Decimal(text), currency)
    if "." in text:
        raise ValueError(f"{text} has a decimal point, but prices are in minor units")
    return int(text)
