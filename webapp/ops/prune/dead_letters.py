"""Sagas that dead letters of several sagas keep: the broker's messages, of which the sagas stand in the
bodies alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ordersaga.envelope import read_rows
from ordersaga.errors import EnvelopeError
from webapp.ops.prune import sql
from webapp.ops.prune.databases import transaction


def keep(connection: Any, horizon: datetime) -> None:
    """Write their sagas into a table of this session, for ``sql.ENDED``; one letter is in memory at a time.

    Once for a whole pruning is enough: a message that dies meanwhile belongs to a younger saga, as the
    retention is longer than a message may come back.
    """
    with transaction(connection) as cursor, connection.cursor("letters") as letters:
        cursor.execute(sql.KEPT)
        letters.itersize = 1
        letters.execute(sql.OF_SEVERAL, {"horizon": horizon})
        for (body,) in letters:
            try:
                rows = read_rows(bytes(body))
            except EnvelopeError:
                continue  # what cannot be read cannot be replayed
            cursor.execute(sql.KEEP, [[row.saga for row in rows]])
        cursor.execute("ANALYZE prune_kept")
