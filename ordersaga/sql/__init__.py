"""The schema and every statement of the engine."""

from __future__ import annotations

from collections.abc import Iterable

AMONG = "saga_id = ANY(%s::uuid[]) AND saga_id BETWEEN %s AND %s"
"""Condition for rows of several sagas; :func:`among` returns its parameters.

Without statistics on a new table, the planner assumes 200 distinct keys and scans the whole table for a list
alone. The bounds cost nothing and make it use the index.
"""

NO_SAGA = "00000000-0000-0000-0000-000000000000"
"""The saga id of messages that do not belong to a saga."""


def array(values: Iterable[object]) -> str:
    """Format values as one array parameter.

    A driver quotes each value of a list separately, which costs more than the statement.

    :param values: ids and numbers, which need no quotes in an array; for text see :func:`text_array`.
    :raises ValueError: when a value is empty or contains a special character of arrays.
    """
    elements = list(map(str, values))
    text = ",".join(elements)
    commas = text.count(",") >= max(len(elements), 1)
    if commas or "{" in text or "}" in text or '"' in text or "\\" in text or not all(elements):
        raise ValueError(
            "array() takes ids and numbers only: a value is empty or has a comma, brace, quote or backslash"
        )
    return f"{{{text}}}"


def text_array(values: Iterable[str]) -> str:
    """Format and quote any texts as one array parameter."""
    return (
        "{" + ",".join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values) + "}"
    )


def among(sagas: Iterable[str]) -> list[object]:
    """The three parameters of :data:`AMONG`."""
    ordered = sorted(sagas)
    return [array(ordered), ordered[0] if ordered else NO_SAGA, ordered[-1] if ordered else NO_SAGA]
