"""Prune: move the horizon, then delete sagas, packs and dead letters, each batch in one transaction."""

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
    """:ivar horizon: only sagas that ended before it are pruned.
    :ivar gone: how many rows were (or would be) deleted, by kind.
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
    """Prune what ended longer ago than ``retention``; the caller has compared it with the minimum.

    The horizon is committed before the first deletion, so that ``reconcile`` always knows what may be
    missing.

    :param on_progress: called after each batch with the totals so far.
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
            pruned.gone["dead letters"] += cursor.fetchone()[0]
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
        pruned.gone["dead letters"] += gone
        on_progress(pruned)
        if gone < batch:
            return


def _delete_packs(connection: Any, horizon: datetime, batch: int) -> Iterator[int]:
    """Delete packs without references; yield the number of each batch.

    References to old packs are read once, because none are added.
    """
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
    """Yield the ids of packs in order, in batches, up to the first one that is too recent."""
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
