"""Read the CDNOW sample, one purchase per line: customer, number, date, CDs, total in dollars."""

from __future__ import annotations

import re
from collections.abc import Iterator

from webapp.ops.order_import.record import Fault, Lines, NotANumber, Record, parse_cents, parse_integer
from webapp.orders.pricing import Item

SKU = "CDNOW-CD"
CURRENCY = "USD"
COLUMNS = ("customer", "number", "date", "quantity", "amount")


def read(lines: Lines) -> Iterator[Record | Fault]:
    """Yield an order of one line for each purchase, with its total, which may not divide by the quantity."""
    for number, text in lines:
        yield text if isinstance(text, Fault) else _purchase(number, text)


def _purchase(number: int, text: str) -> Record | Fault:
    values = text.split()
    if len(values) != len(COLUMNS):
        fault = f"has {len(values)} values, not {len(COLUMNS)}"
        return Fault(number, "line", fault, f"Separate by blanks: {' '.join(COLUMNS)}")
    customer, _, date, quantity, amount = values
    if not re.fullmatch("[0-9]{1,18}", customer):
        return Fault(
            number, "customer", f"{customer[:40]!r} is not a number", "Write the customer's number in digits"
        )
    if not re.fullmatch("[0-9]{8}", date):
        return Fault(number, "date", f"{date[:40]!r} is not a date", "Write it as 19970118")
    try:
        item = Item(SKU, parse_integer("quantity", quantity), parse_cents("amount", amount))
    except NotANumber as error:
        return Fault(number, error.field, str(error), error.remedy)
    return Record(number, f"cdnow-{customer}", [item], CURRENCY, (number,))
