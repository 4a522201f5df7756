"""The base of all commands; ``--help`` prints options, exit statuses and examples in 80 columns."""

from __future__ import annotations

import re
import textwrap
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from typing import Any

from django.core.management.base import BaseCommand, DjangoHelpFormatter


class HelpFormatter(DjangoHelpFormatter):
    """Keeps the lines of tables and examples, and folds lines that are too long for the terminal."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in fold_text(text, width - len(indent)))


class Command(BaseCommand):
    """A command whose ``epilog`` is printed below its options."""

    epilog = ""
    requires_system_checks = []

    def create_parser(self, *args: Any, **kwargs: Any) -> Any:
        """Add the epilog to Django's parser."""
        return super().create_parser(*args, epilog=self.epilog, formatter_class=HelpFormatter, **kwargs)


def fold_text(text: str, width: int) -> Iterator[str]:
    """Yield lines of at most ``width``: paragraphs are filled, an indented line is folded below its last
    column.
    """
    paragraph: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line and not line.startswith(" "):
            paragraph.append(line)
            continue
        yield from textwrap.wrap(" ".join(paragraph), width)
        paragraph = []
        yield from _fold_line(line, width)


def _fold_line(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    indent = len(line) - len(line.lstrip())
    columns = re.fullmatch(r"(.*\S {2,})(\S.*)", line)
    if columns is None:
        return _wrap(line, width, "", indent + 4)
    before, last = columns.groups()
    if len(before) <= width // 2:
        return _wrap(last, width, before, len(before))
    return [*_fold_line(before.rstrip(), width), *_wrap(last, width, " " * (indent + 4), indent + 4)]


def _wrap(text: str, width: int, before: str, hanging: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=before,
        subsequent_indent=" " * hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def number_between(low: float, high: float, kind: type[int | float] = int) -> Callable[[str], float]:
    """Return the type of an option: a number from ``low`` to ``high``."""

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
