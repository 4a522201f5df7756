"""What a reader returns: an order with its line number, or a fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from webapp.ops.cli.console import escape_unprintable
from webapp.orders.exceptions import OrderRefused
from webapp.orders.pricing import Item, NewOrder

DEFAULT_CURRENCY = "EUR"
"""The currency of orders that name none."""


class FileRefused(Exception):
    """The file cannot be placed as a whole; the message continues a sentence that begins with its name."""


class Fault(NamedTuple):
    """A fault of one line."""

    line: int
    field: str
    fault: str
    remedy: str

    def __str__(self) -> str:
        """Format it on one printable line."""
        return escape_unprintable(f"line {self.line}: {self.field}: {self.fault}. {self.remedy}.")


@dataclass(frozen=True, slots=True)
class Record:
    """One order of the file.

    :ivar line: its first line, which distinguishes it from orders with the same content.
    :ivar rows: the line of the file of each order line, in formats with one line for each.
    """

    line: int
    customer: str
    items: list[Item]
    currency: str = DEFAULT_CURRENCY
    rows: tuple[int, ...] = ()

    def order(self, batch: str) -> NewOrder:
        return NewOrder(self.customer, self.items, order_key(batch, self.line), self.currency)

    def fault(self, refused: OrderRefused) -> Fault:
        """Translate a refusal to the lines of the file: ``quantity`` of line 7, not ``lines[2].quantity``."""
        found = re.fullmatch(r"lines\[(\d+)\]\.(\w+)", refused.field)
        if found and self.rows:
            return Fault(
                self.rows[min(int(found[1]), len(self.rows) - 1)], found[2], refused.fault, refused.remedy
            )
        return Fault(self.line, refused.field, refused.fault, refused.remedy)


def order_key(batch: str, line: int | str) -> str:
    """Return the idempotency key of the order at that line; with line "", the prefix of all keys of the
    batch.
    """
    return f"{batch}:{line}"


Lines = Iterator[tuple[int, str | Fault]]
Reader = Callable[[Lines], Iterator[Record | Fault]]
"""Turns lines into orders, one at a time; raises FileRefused."""


INTEGER = re.compile(r"-?[0-9]{1,18}")
CENTS = re.compile(r"(-?)([0-9]{1,15})\.([0-9]{2})")


class NotANumber(Exception):
    """A field is not a number; ``remedy`` describes the expected format."""

    def __init__(self, field: str, text: str, remedy: str) -> None:
        super().__init__(f"{text[:40]!r} is not a number" if text else "is missing")
        self.field, self.remedy = field, remedy


def parse_integer(field: str, text: str) -> int:
    """Parse ``12``; a negative number passes, because the validation of orders explains it better.

    :raises NotANumber: for anything else.
    """
    if not INTEGER.fullmatch(text):
        raise NotANumber(field, text, "Write a whole number in digits, such as 12")
    return int(text)


def parse_cents(field: str, text: str) -> int:
    """Parse ``29.33`` to 2933.

    :raises NotANumber: for anything else.
    """
    found = CENTS.fullmatch(text)
    if not found:
        raise NotANumber(field, text, "Write an amount with two decimals, such as 29.33")
    return int(f"{found[1]}{found[2]}{found[3]}")
