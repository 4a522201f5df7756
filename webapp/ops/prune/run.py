"""The whole: the horizon first, then sagas, packs and the desk, in batches that are each a transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from webapp.ops.prune import sagas, sql
from webapp.ops.prune.databases import Databases, transaction

BATCH = 500


@dataclass
class Pruned:
    """:ivar horizon: what ended before it was looked at.
    :ivar gone: how many rows went (or would go), by kind.
    """

    horizon: datetime
    gone: Counter[str] = field(default_factory=Counter)


def prune(
    databases: Databases,
    retention: timedelta,
    *,
    batch: int = BATCH,
    dry: bool = False,
    on_progress: Callable[[Pruned], None] = lambda _: None,
) -> Pruned:
    """Forget what ended longer ago than ``retention``, which the caller has held against the horizon of
    replays.

    The horizon is committed before anything goes, so that ``reconcile`` knows at every moment what may be
    missing.

    :param on_progress: called after each batch with what went so far.
    """
    with transaction(databases.orders) as cursor:
        if not dry:
            cursor.execute(sql.MOVE_HORIZON, [retention, retention])
        cursor.execute(sql.READ_HORIZON, [retention])
        pruned = Pruned(cursor.fetchone()[0])
    for window in sagas.find_prunable(databases, pruned.horizon, batch):
        if window:
            pruned.gone += (
                sagas.count_rows(databases, window) if dry else sagas.delete_sagas(databases, window)
            )
        on_progress(pruned)
    if dry:
        with transaction(databases.orders) as cursor:
            cursor.execute(sql.COUNT_DEAD_LETTERS, {"horizon": pruned.horizon})
            pruned.gone["letters of the desk"] += cursor.fetchone()[0]
        return pruned
    for connection in databases.all:
        for dropped in _delete_packs(connection, pruned.horizon, batch):
            pruned.gone["packs"] += dropped
            on_progress(pruned)
    _delete_settled_dead_letters(databases, pruned, batch, on_progress)
    return pruned


def _delete_settled_dead_letters(
    databases: Databases, pruned: Pruned, batch: int, on_progress: Callable[[Pruned], None]
) -> None:
    while True:
        with transaction(databases.orders) as cursor:
            cursor.execute(sql.DELETE_DEAD_LETTERS, {"horizon": pruned.horizon, "batch": batch})
            gone = cursor.rowcount
        pruned.gone["letters of the desk"] += gone
        on_progress(pruned)
        if gone < batch:
            return


def _delete_packs(connection: Any, horizon: datetime, batch: int) -> Iterator[int]:
    """How many went, batch by batch. What points at old packs is read once, for nothing new ever does."""
    last = 0
    for window in _old_packs(connection, horizon, batch):
        last = window[-1]
    if not last:
        return
    with transaction(connection) as cursor:
        cursor.execute(sql.REFERENCED_PACKS, {"last": last})
        kept = {pack for (pack,) in cursor.fetchall()}
    for window in _old_packs(connection, horizon, batch):
        if window[0] > last:
            return
        packs = [pack for pack in window if pack not in kept and pack <= last]
        if packs:
            with transaction(connection) as cursor:
                cursor.execute(sql.DELETE_PACKS, {"packs": packs})
                yield cursor.rowcount


def _old_packs(connection: Any, horizon: datetime, batch: int) -> Iterator[list[int]]:
    """Their numbers, in order, up to the first that is young."""
    after = 0
    while True:
        with transaction(connection) as cursor:
            cursor.execute(sql.NEXT_PACKS, {"horizon": horizon, "after": after, "batch": batch})
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
