"""Ended sagas, a batch at a time: first at every other participant, then at the initiator, who knows what is
left.
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
    """The sagas that may be forgotten, some hundred at a time; a list may be empty."""
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
    """Those with which nobody has anything left to do."""
    open_: set[str] = set()
    for connection in databases.all:
        with transaction(connection) as cursor:
            cursor.execute(sql.UNSETTLED, {"sagas": sagas, "horizon": horizon})
            open_ |= {saga for (saga,) in cursor.fetchall()}
    return [saga for saga in sagas if saga not in open_]


def delete_sagas(databases: Databases, sagas: Sagas) -> Counter[str]:
    """What went, by kind. Interrupted after any of its transactions, the next pruning goes on there."""
    gone: Counter[str] = Counter()
    these = {"sagas": sagas}
    for connection in databases.others.values():
        with transaction(connection) as cursor:
            for kind, statement in (
                ("journal rows", sql.DELETE_JOURNAL),
                ("settled letters", sql.DELETE_PARTICIPANT_DEAD_LETTERS),
            ):
                cursor.execute(statement, these)
                gone[kind] += cursor.rowcount
    with transaction(databases.orders) as cursor:
        cursor.execute(sql.ALLOW_DELETES)
        for kind, statement in (
            ("journal rows", sql.DELETE_JOURNAL), ("answers", sql.DELETE_ANSWERS), ("settled letters", sql.DELETE_PARTICIPANT_DEAD_LETTERS),
            ("audit events", sql.DELETE_EVENTS), ("keys", sql.REPLACE_KEYS),
        ):  # fmt: skip
            cursor.execute(statement, these)
            gone[kind] += cursor.rowcount
    gone["sagas"] += len(sagas)
    return gone


def count_rows(databases: Databases, sagas: Sequence[str]) -> Counter[str]:
    """What would go, by kind."""
    found: Counter[str] = Counter(sagas=len(sagas))
    for connection in databases.all:
        counts = sql.COUNTS | (sql.ORDERS_COUNTS if connection is databases.orders else {})
        with transaction(connection) as cursor:
            for kind, statement in counts.items():
                cursor.execute(statement, {"sagas": sagas})
                found[kind] += cursor.fetchone()[0]
    return found


def _collect_kept_sagas(connection: Any, horizon: datetime) -> None:
    """Write their sagas into a table of this session, for ``sql.PRUNABLE``; one letter is in memory at a time.

    Once for a whole pruning is enough: a message that dies meanwhile belongs to a younger saga, as the
    retention is longer than a message may come back.
    """
    with transaction(connection) as cursor, connection.cursor("letters") as letters:
        cursor.execute(sql.CREATE_KEPT)
        letters.itersize = 1
        letters.execute(sql.KEPT_MESSAGES, {"horizon": horizon})
        for (body,) in letters:
            try:
                rows = read_rows(bytes(body))
            except EnvelopeError:
                continue  # what cannot be read cannot be replayed
            cursor.execute(sql.INSERT_KEPT, [[row.saga for row in rows]])
        cursor.execute("ANALYZE prune_kept")
