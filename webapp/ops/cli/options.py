"""The types of options that several commands take."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable


def within(low: float, high: float, kind: type[int | float] = int) -> Callable[[str], float]:
    """An option's type: a number from ``low`` to ``high``."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(-1)
        if not low <= value <= high:
            what = "a whole number" if kind is int else "a number"
            raise ArgumentTypeError(f"{text!r} is not {what} from {low:,} to {high:,}")
        return value

    return read
