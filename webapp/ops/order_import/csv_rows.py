"""Read CSV: each row is an order line; consecutive rows with the same value of ``order`` are one order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from webapp.ops.order_import.csv_table import read_table
from webapp.ops.order_import.record import DEFAULT_CURRENCY, Fault, Lines, NotANumber, Record, parse_integer
from webapp.orders.pricing import Item
from workers.signals import MAX_LINES

REQUIRED = ("customer", "sku", "quantity")
OPTIONAL = ("amount", "currency", "order")


@dataclass(frozen=True, slots=True)
class Row:
    """One row; rows with the same ``group`` are one order."""

    line: int
    group: str
    customer: str
    currency: str
    item: Item | Fault


def read(lines: Lines) -> Iterator[Record | Fault]:
    """Yield the orders of a CSV file.

    :raises FileRefused: when its first line does not name the columns.
    """
    rows = (_row(number, values) for number, values in read_table(lines, REQUIRED, OPTIONAL))
    for _, group in groupby(rows, key=lambda row: row.group):
        yield _order(group)


def _row(number: int, values: dict[str, str] | Fault) -> Row:
    if isinstance(values, Fault):
        return Row(number, f"line {number}", "", "", values)
    name = values.get("order")
    group = f"order {name}" if name else f"line {number}"
    return Row(
        number, group, values["customer"], values.get("currency") or DEFAULT_CURRENCY, _item(number, values)
    )


def _item(number: int, values: dict[str, str]) -> Item | Fault:
    amount = values.get("amount")
    try:
        return Item(
            values["sku"],
            parse_integer("quantity", values["quantity"]),
            parse_integer("amount", amount) if amount else None,
        )
    except NotANumber as error:
        return Fault(number, error.field, str(error), error.remedy)


def _order(group: Iterator[Row]) -> Record | Fault:
    """Build an order from its rows; it keeps one row more than allowed, so that too many are detected."""
    rows: list[Row] = []
    fault: Fault | None = None
    for row in group:
        if isinstance(row.item, Fault):
            fault = fault or row.item
        elif rows and (row.customer, row.currency) != (rows[0].customer, rows[0].currency):
            fault = fault or _mismatch(row, rows[0])
        elif len(rows) <= MAX_LINES:
            rows.append(row)
    if fault:
        return fault
    first = rows[0]
    items = [row.item for row in rows if isinstance(row.item, Item)]
    return Record(first.line, first.customer, items, first.currency, tuple(row.line for row in rows))


def _mismatch(row: Row, first: Row) -> Fault:
    field, mine, theirs = "customer", row.customer, first.customer
    if mine == theirs:
        field, mine, theirs = "currency", row.currency, first.currency
    fault = f"is {mine[:70]!r} here and {theirs[:70]!r} in line {first.line} of the same order"
    return Fault(row.line, field, fault, "Give an order one customer and one currency")
