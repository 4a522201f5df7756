"""Read JSON Lines: one order per line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from webapp.ops.order_import.record import DEFAULT_CURRENCY, Fault, Lines, Record
from webapp.orders.pricing import Item
from workers.signals import MAX_LINES

FIELDS = frozenset({"customer", "currency", "lines"})
LINE_FIELDS = frozenset({"sku", "quantity", "amount"})
SHAPE = '{"customer": "c-1", "currency": "EUR", "lines": [{"sku": "TEA", "quantity": 2, "amount": 900}]}'
REMEDY = f"Write one object like {SHAPE}"


class MalformedLine(Exception):
    def __init__(self, field: str, fault: str) -> None:
        super().__init__(fault)
        self.field = field


def read(lines: Lines) -> Iterator[Record | Fault]:
    """Yield the orders of a file."""
    for number, text in lines:
        if isinstance(text, Fault):
            yield text
            continue
        try:
            yield _order(number, parse_line(text))
        except MalformedLine as error:
            yield Fault(number, error.field, str(error), REMEDY)


def parse_line(text: str, *, parse_float: Callable[[str], Any] = float) -> Any:
    """Parse one line of JSON.

    :raises MalformedLine: when it is not JSON, repeats a name, or holds NaN or an infinity.
    """
    try:
        return json.loads(
            text,
            object_pairs_hook=_reject_duplicates,
            parse_constant=_reject_constant,
            parse_float=parse_float,
        )
    except MalformedLine:
        raise
    except (
        ValueError,
        RecursionError,
    ) as error:  # an integer with thousands of digits also raises ValueError
        said = (
            error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply or a number too long"
        )
        raise MalformedLine("line", f"is not JSON: {said}") from None


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse repeated names, of which Python's decoder would keep the last."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise MalformedLine(name[:40], "is repeated")
        found[name] = value
    return found


def _reject_constant(name: str) -> NoReturn:
    raise MalformedLine("line", f"is not JSON: {name} is not a number")


def _order(number: int, found: Any) -> Record:
    _require_known_fields(found, FIELDS, "")
    for name in ("customer", "lines"):
        if name not in found:
            raise MalformedLine(name, "is missing")
    if not isinstance(found["lines"], list):
        raise MalformedLine("lines", "is not a list")
    # one more than allowed is enough to detect too many
    items = [_item(f"lines[{place}].", line) for place, line in enumerate(found["lines"][: MAX_LINES + 1])]
    return Record(number, found["customer"], items, found.get("currency", DEFAULT_CURRENCY))


def _item(where: str, found: Any) -> Item:
    _require_known_fields(found, LINE_FIELDS, where)
    for name in ("sku", "quantity"):
        if name not in found:
            raise MalformedLine(where + name, "is missing")
    return Item(found["sku"], found["quantity"], found.get("amount"))


def _require_known_fields(found: Any, known: frozenset[str], where: str) -> None:
    if not isinstance(found, dict):
        raise MalformedLine(where.removesuffix(".") or "line", "is not an object")
    if unknown := sorted(found.keys() - known):
        raise MalformedLine(f"{where}{unknown[0][:40]}", "is an unknown field")
