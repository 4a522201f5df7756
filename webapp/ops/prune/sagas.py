"""Delete ended sagas in batches: first at the other participants, then at the initiator.

A saga stays in the initiator's journal until all others have deleted it, so an interrupted prune can
continue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from ordersaga.envelope import read_rows
from ordersaga.errors import EnvelopeError
from ordersaga.sql import NO_SAGA
from webapp.ops.prune import sql
from webapp.ops.prune.databases import Databases, transaction

Sagas = list[str]


def find_prunable(databases: Databases, horizon: datetime, batch: int) -> Iterator[Sagas]:
    """Yield the sagas that may be pruned, in batches; a batch may be empty."""
    _collect_kept_sagas(databases.orders, horizon)
    after = NO_SAGA
    while True:
        with transaction(databases.orders) as cursor:
            cursor.execute(sql.NEXT_SAGAS, [after, batch])
            window = [saga for (saga,) in cursor.fetchall()]
            if not window:
                return
            cursor.execute(sql.PRUNABLE, {"sagas": window, "horizon": horizon})
            sagas = [saga for (saga,) in cursor.fetchall()]
        after = window[-1]
        yield _without_unsettled(databases, sagas, horizon)


def _without_unsettled(databases: Databases, sagas: Sagas, horizon: datetime) -> Sagas:
    """Remove the sagas with unfinished work at any participant."""
    open_: set[str] = set()
    for connection in databases.all:
        with transaction(connection) as cursor:
            cursor.execute(sql.UNSETTLED, {"sagas": sagas, "horizon": horizon})
            open_ |= {saga for (saga,) in cursor.fetchall()}
    return [saga for saga in sagas if saga not in open_]


def delete_sagas(databases: Databases, sagas: Sagas) -> Counter[str]:
    """Delete sagas; return the deleted rows by kind. After an interruption the next prune continues."""
    gone: Counter[str] = Counter()
    these = {"sagas": sagas}
    for connection in databases.others.values():
        with transaction(connection) as cursor:
            for kind, statement in (
                ("journal rows", sql.DELETE_JOURNAL),
                ("dead letters of participants", sql.DELETE_PARTICIPANT_DEAD_LETTERS),
            ):
                cursor.execute(statement, these)
                gone[kind] += cursor.rowcount
    with transaction(databases.orders) as cursor:
        cursor.execute(sql.ALLOW_DELETES)
        for kind, statement in (
            ("journal rows", sql.DELETE_JOURNAL), ("answers", sql.DELETE_ANSWERS),
            ("dead letters of participants", sql.DELETE_PARTICIPANT_DEAD_LETTERS),
            ("audit events", sql.DELETE_EVENTS), ("keys", sql.REPLACE_KEYS),
        ):  # fmt: skip
            cursor.execute(statement, these)
            gone[kind] += cursor.rowcount
    gone["sagas"] += len(sagas)
    return gone


def count_rows(databases: Databases, sagas: Sequence[str]) -> Counter[str]:
    """Count the rows that would be deleted, by kind."""
    found: Counter[str] = Counter(sagas=len(sagas))
    for connection in databases.all:
        counts = sql.COUNTS | (sql.ORDERS_COUNTS if connection is databases.orders else {})
        with transaction(connection) as cursor:
            for kind, statement in counts.items():
                cursor.execute(statement, {"sagas": sagas})
                found[kind] += cursor.fetchone()[0]
    return found


def _collect_kept_sagas(connection: Any, horizon: datetime) -> None:
    """Write the sagas of kept dead messages, which only the bodies name, into a temporary table.

    Once per prune is enough: a message that is dead-lettered meanwhile belongs to a more recent saga, because
    the retention is longer than the time for which a message may be redelivered.
    """
    with transaction(connection) as cursor, connection.cursor("letters") as letters:
        cursor.execute(sql.CREATE_KEPT)
        letters.itersize = 1
        letters.execute(sql.KEPT_MESSAGES, {"horizon": horizon})
        for (body,) in letters:
            try:
                rows = read_rows(bytes(body))
            except EnvelopeError:
                continue  # an unreadable message cannot be replayed
            cursor.execute(sql.INSERT_KEPT, [[row.saga for row in rows]])
        cursor.execute("ANALYZE prune_kept")
