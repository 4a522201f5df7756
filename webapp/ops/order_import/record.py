"""What a reader makes of a file: an order with its place, or what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from webapp.ops.cli.console import escape_unprintable
from webapp.orders.exceptions import OrderRefused
from webapp.orders.pricing import Item, NewOrder

DEFAULT_CURRENCY = "EUR"
"""Of what names none."""


class FileRefused(Exception):
    """The file as a whole cannot be placed; the message goes on after its name."""


class Fault(NamedTuple):
    """What is wrong with one line, by its number."""

    line: int
    field: str
    fault: str
    remedy: str

    def __str__(self) -> str:
        """On one line, printable whatever the file holds."""
        return escape_unprintable(f"line {self.line}: {self.field}: {self.fault}. {self.remedy}.")


@dataclass(frozen=True, slots=True)
class Record:
    """One order of the file.

    :ivar line: where it begins; its place, which tells it from another of the same words.
    :ivar rows: the file's line of each order line, when each has one of its own.
    """

    line: int
    customer: str
    items: list[Item]
    currency: str = DEFAULT_CURRENCY
    rows: tuple[int, ...] = ()

    def order(self, batch: str) -> NewOrder:
        return NewOrder(self.customer, self.items, order_key(batch, self.line), self.currency)

    def fault(self, refused: OrderRefused) -> Fault:
        """A refusal in the words of the file: ``quantity`` of line 7 rather than ``lines[2].quantity``."""
        found = re.fullmatch(r"lines\[(\d+)\]\.(\w+)", refused.field)
        if found and self.rows:
            return Fault(
                self.rows[min(int(found[1]), len(self.rows) - 1)], found[2], refused.fault, refused.remedy
            )
        return Fault(self.line, refused.field, refused.fault, refused.remedy)


def order_key(batch: str, line: int | str) -> str:
    """The idempotency key of the order at that line; without a line, how all of the batch begin."""
    return f"{batch}:{line}"


Lines = Iterator[tuple[int, str | Fault]]
Reader = Callable[[Lines], Iterator[Record | Fault]]
"""From lines to orders, holding one order at a time; raises FileRefused."""


INTEGER = re.compile(r"-?[0-9]{1,18}")
CENTS = re.compile(r"(-?)([0-9]{1,15})\.([0-9]{2})")


class NotANumber(Exception):
    """A field holds no number; ``remedy`` says what it should hold."""

    def __init__(self, field: str, text: str, remedy: str) -> None:
        super().__init__(f"{text[:40]!r} is no number" if text else "is missing")
        self.field, self.remedy = field, remedy


def parse_integer(field: str, text: str) -> int:
    """``12``; the sign is let through, so that whoever judges the number can say what is wrong with it.

    :raises NotANumber: for anything else.
    """
    if not INTEGER.fullmatch(text):
        raise NotANumber(field, text, "Write a whole number in digits, such as 12")
    return int(text)


def parse_cents(field: str, text: str) -> int:
    """``29.33`` as 2933.

    :raises NotANumber: for anything else.
    """
    found = CENTS.fullmatch(text)
    if not found:
        raise NotANumber(field, text, "Write an amount with two decimals, such as 29.33")
    return int(f"{found[1]}{found[2]}{found[3]}")
