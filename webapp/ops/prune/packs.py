"""Packs that nobody points at any more: a pack is shared by the sagas of its transaction, so they go after
the journals.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from webapp.ops.prune import sql
from webapp.ops.prune.databases import transaction


def drop(connection: Any, horizon: datetime, batch: int) -> Iterator[int]:
    """How many went, batch by batch. What points at old packs is read once, for nothing new ever does."""
    last = 0
    for window in _old(connection, horizon, batch):
        last = window[-1]
    if not last:
        return
    with transaction(connection) as cursor:
        cursor.execute(sql.POINTED_AT, {"last": last})
        kept = {pack for (pack,) in cursor.fetchall()}
    for window in _old(connection, horizon, batch):
        if window[0] > last:
            return
        packs = [pack for pack in window if pack not in kept and pack <= last]
        if packs:
            with transaction(connection) as cursor:
                cursor.execute(sql.DROP_PACKS, {"packs": packs})
                yield cursor.rowcount


def _old(connection: Any, horizon: datetime, batch: int) -> Iterator[list[int]]:
    """Their numbers, in order, up to the first that is young."""
    after = 0
    while True:
        with transaction(connection) as cursor:
            cursor.execute(sql.PACKS, {"horizon": horizon, "after": after, "batch": batch})
            rows = cursor.fetchall()
        numbers = []
        for number, old in rows:
            if not old:
                break
            numbers.append(number)
        if numbers:
            yield sorted(set(numbers))
            after = numbers[-1]
        if len(numbers) < len(rows) or not rows:
            return
