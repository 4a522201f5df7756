"""CSV with named columns, read line by line: a value never spans lines."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence

from webapp.ops.order_import.record import Fault, FileRefused, Lines


def read_table(
    lines: Lines, needed: Sequence[str], optional: Sequence[str]
) -> Iterator[tuple[int, dict[str, str] | Fault]]:
    """Each row by its line number: its trimmed values by column, or what is wrong with it.

    :raises FileRefused: when the first line does not name the columns.
    """
    columns = _header(lines, needed, optional)
    for number, text in lines:
        yield number, text if isinstance(text, Fault) else _row(number, text, columns)


def _header(lines: Lines, needed: Sequence[str], optional: Sequence[str]) -> list[str]:
    for number, text in lines:
        if isinstance(text, Fault):
            raise FileRefused(f"cannot be read as CSV: {str(text).rstrip('.')}")
        try:
            columns = [name.strip() for name in _cells(text)]
        except csv.Error as error:
            raise FileRefused(f"cannot be read as CSV: line {number}: {error}") from None
        _check(number, columns, needed, optional)
        return columns
    raise FileRefused(f"is empty. Its first line names the columns: {','.join((*needed, *optional))}")


def _check(number: int, columns: list[str], needed: Sequence[str], optional: Sequence[str]) -> None:
    known = (*needed, *optional)
    faults = [f"lacks the column {name}" for name in needed if name not in columns]
    faults += [f"has the unknown column {name[:40]!r}" for name in columns if name not in known]
    faults += [f"has the column {name} twice" for name in known if columns.count(name) > 1]
    if not faults:
        return
    if len(columns) == 1 and ";" in columns[0]:
        raise FileRefused(f"line {number} separates the columns with semicolons. Separate them with commas")
    wanted = f"{','.join(needed)} and, optionally, {','.join(optional)}"
    raise FileRefused(
        f"line {number} {'; '.join(faults)}. It names the columns, separated by commas: {wanted}"
    )


def _cells(text: str) -> list[str]:
    """The values of one line.

    :raises csv.Error: on an unclosed quote or a bare CR line ending.
    """
    if "\r" in text:
        raise csv.Error("it contains a carriage return; end lines with LF or CRLF")
    return next(csv.reader([text], strict=True))


def _row(number: int, text: str, columns: list[str]) -> dict[str, str] | Fault:
    try:
        cells = _cells(text)
    except csv.Error as error:
        return Fault(number, "line", f"is not CSV: {error}", "Close the quotes on the same line")
    if len(cells) != len(columns):
        fault = f"has {len(cells)} values for {len(columns)} columns"
        return Fault(number, "line", fault, "Give each column one value")
    return dict(zip(columns, (cell.strip() for cell in cells), strict=True))
