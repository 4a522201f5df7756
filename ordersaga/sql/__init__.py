"""The schema and every statement of the engine."""

from __future__ import annotations

from collections.abc import Iterable

AMONG = "saga_id = ANY(%s::uuid[]) AND saga_id BETWEEN %s AND %s"
"""Rows of many sagas, by :func:`among`. A list alone becomes a scan of the whole table while the planner has no statistics of a
fresh one (it reckons with 200 different keys); the bounds cost nothing and keep it on the index."""

NOBODY = "00000000-0000-0000-0000-000000000000"


def uuids(sagas: Iterable[str]) -> str:
    """Sagas as one parameter for ``uuid[]``; a driver quotes a list text by text, which costs more than the statement."""
    return "{" + ",".join(sagas) + "}"


def among(sagas: Iterable[str]) -> list[object]:
    """The three parameters of :data:`AMONG`."""
    ordered = sorted(sagas)
    return [uuids(ordered), ordered[0] if ordered else NOBODY, ordered[-1] if ordered else NOBODY]
