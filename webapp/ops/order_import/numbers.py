"""Whole numbers from text, without a float in between."""

from __future__ import annotations

import re

WHOLE = re.compile(r"-?[0-9]{1,18}")
CENTS = re.compile(r"(-?)([0-9]{1,15})\.([0-9]{2})")


class NotANumber(Exception):
    """A field holds no number; ``remedy`` says what it should hold."""

    def __init__(self, field: str, text: str, remedy: str) -> None:
        super().__init__(f"{text[:40]!r} is no number" if text else "is missing")
        self.field, self.remedy = field, remedy


def whole(field: str, text: str) -> int:
    """``12``; the sign is let through, so that whoever judges the number can say what is wrong with it.

    :raises NotANumber: for anything else.
    """
    if not WHOLE.fullmatch(text):
        raise NotANumber(field, text, "Write a whole number in digits, such as 12")
    return int(text)


def cents(field: str, text: str) -> int:
    """``29.33`` as 2933.

    :raises NotANumber: for anything else.
    """
    found = CENTS.fullmatch(text)
    if not found:
        raise NotANumber(field, text, "Write an amount with two decimals, such as 29.33")
    return int(f"{found[1]}{found[2]}{found[3]}")
