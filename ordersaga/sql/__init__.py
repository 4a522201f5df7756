"""The schema and every statement of the engine."""

from __future__ import annotations

from collections.abc import Iterable

AMONG = "saga_id = ANY(%s::uuid[]) AND saga_id BETWEEN %s AND %s"
"""Rows of many sagas, by :func:`among`. A list alone becomes a scan of the whole table while the planner has
no statistics of a fresh one (it reckons with 200 different keys); the bounds cost nothing and keep it on the
index.
"""

NOBODY = "00000000-0000-0000-0000-000000000000"


def array(values: Iterable[object]) -> str:
    """Values as one parameter for an array; a driver quotes a list one by one, which costs more than the
    statement.

    :param values: ids, numbers, or what else PostgreSQL reads in an array without quotes; for text see
        :func:`text_array`.
    :raises ValueError: when a value is empty or holds a character that has a meaning in an array.
    """
    elements = list(map(str, values))
    text = ",".join(elements)
    commas = text.count(",") >= max(len(elements), 1)
    if commas or "{" in text or "}" in text or '"' in text or "\\" in text or not all(elements):
        raise ValueError(
            "array() takes ids and numbers only: a value is empty or holds a comma, brace, quote or backslash"
        )
    return f"{{{text}}}"


def text_array(values: Iterable[str]) -> str:
    """Any texts as one parameter for an array of text, quoted."""
    return (
        "{" + ",".join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values) + "}"
    )


def among(sagas: Iterable[str]) -> list[object]:
    """The three parameters of :data:`AMONG`."""
    ordered = sorted(sagas)
    return [array(ordered), ordered[0] if ordered else NOBODY, ordered[-1] if ordered else NOBODY]
