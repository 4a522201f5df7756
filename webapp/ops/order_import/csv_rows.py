"""CSV: one order line a row; rows that follow one another under one name of an order are one order."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from webapp.ops.order_import.record import CURRENCY, Fault, FileRefused, Lines, NotANumber, Record, whole
from webapp.orders.pricing import Item
from workers.signals import MAX_LINES

NEEDED = ("customer", "sku", "quantity")
COLUMNS = (*NEEDED, "amount", "currency", "order")


@dataclass(frozen=True, slots=True)
class Row:
    """One row; rows of one ``group`` are one order."""

    line: int
    group: str
    customer: str
    currency: str
    item: Item | Fault


def read(lines: Lines) -> Iterator[Record | Fault]:
    """The orders of a CSV file.

    :raises FileRefused: when its first line does not name the columns.
    """
    columns = _header(lines)
    rows = (_row(number, text, columns) for number, text in lines)
    for _, group in groupby(rows, key=lambda row: row.group):
        yield _order(group)


def _header(lines: Lines) -> list[str]:
    for number, text in lines:
        if isinstance(text, Fault):
            raise FileRefused(f"cannot be read as CSV: {str(text).rstrip('.')}")
        try:
            columns = [name.strip() for name in _cells(text)]
        except csv.Error as error:
            raise FileRefused(f"cannot be read as CSV: line {number}: {error}") from None
        _check(number, columns)
        return columns
    raise FileRefused(f"is empty. Its first line names the columns: {','.join(COLUMNS)}")


def _check(number: int, columns: list[str]) -> None:
    faults = [f"lacks the column {name}" for name in NEEDED if name not in columns]
    faults += [f"has the column {name[:40]!r}, which nobody reads" for name in columns if name not in COLUMNS]
    faults += [f"has the column {name} twice" for name in COLUMNS if columns.count(name) > 1]
    if faults:
        wanted = f"{','.join(NEEDED)} and, if you like, {','.join(COLUMNS[len(NEEDED) :])}"
        raise FileRefused(
            f"line {number} {'; '.join(faults)}. It names the columns, separated by commas: {wanted}"
        )


def _cells(text: str) -> list[str]:
    """:raises csv.Error: when quotes are left open: a value ends with its line; and where a line is ended as
    long ago.
    """
    if "\r" in text:
        raise csv.Error("a carriage return stands inside it; end lines with LF or CRLF")
    return next(csv.reader([text], strict=True))


def _row(number: int, text: str | Fault, columns: list[str]) -> Row:
    fault, cells = text, []
    if not isinstance(text, Fault):
        try:
            cells = _cells(text)
        except csv.Error as error:
            fault = Fault(number, "line", f"is not CSV: {error}", "Close the quotes on the same line")
    if isinstance(fault, Fault):
        return Row(number, f"line {number}", "", "", fault)
    if len(cells) != len(columns):
        unequal = Fault(
            number,
            "line",
            f"has {len(cells)} values for {len(columns)} columns",
            "Give each column one value",
        )
        return Row(number, f"line {number}", "", "", unequal)
    values = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
    name = values.get("order")
    group = f"order {name}" if name else f"line {number}"
    return Row(number, group, values["customer"], values.get("currency") or CURRENCY, _item(number, values))


def _item(number: int, values: dict[str, str]) -> Item | Fault:
    amount = values.get("amount")
    try:
        return Item(
            values["sku"], whole("quantity", values["quantity"]), whole("amount", amount) if amount else None
        )
    except NotANumber as error:
        return Fault(number, error.field, str(error), error.remedy)


def _order(group: Iterator[Row]) -> Record | Fault:
    """One order of its rows: all are read, no more are kept than are needed to see that they are too many."""
    rows: list[Row] = []
    fault: Fault | None = None
    for row in group:
        if isinstance(row.item, Fault):
            fault = fault or row.item
        elif rows and (row.customer, row.currency) != (rows[0].customer, rows[0].currency):
            fault = fault or _strange(row, rows[0])
        elif len(rows) <= MAX_LINES:
            rows.append(row)
    if fault:
        return fault
    first = rows[0]
    items = [row.item for row in rows if isinstance(row.item, Item)]
    return Record(first.line, first.customer, items, first.currency, tuple(row.line for row in rows))


def _strange(row: Row, first: Row) -> Fault:
    field, mine, theirs = "customer", row.customer, first.customer
    if mine == theirs:
        field, mine, theirs = "currency", row.currency, first.currency
    fault = f"is {mine[:70]!r} here and {theirs[:70]!r} in line {first.line} of the same order"
    return Fault(row.line, field, fault, "Give an order one customer and one currency")
