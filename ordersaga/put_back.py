"""Owe again what was claimed and not published, in the transaction that finishes the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ordersaga.claim import OutboxRow, OutgoingEnvelope, Refused
from ordersaga.database import Cursor
from ordersaga.sql import outbox as sql

ROW_FIRST, ROW_CAP = 1.0, 60.0
"""Seconds between two tries of a row that cannot be published: the first interval, which doubles, and the
longest.
"""


class _Owed(NamedTuple):
    """A row and when it is due: at ``due`` (seconds since the epoch) or ``later`` seconds from now."""

    row: OutboxRow
    due: float | None
    later: float
    refusals: int | None
    fault: str | None


class PutBack:
    """Collects rows of one claim; a row of several envelopes keeps what was said of it last."""

    def __init__(self) -> None:
        self._rows: dict[int, _Owed] = {}

    def unchanged(self, envelopes: Sequence[OutgoingEnvelope]) -> None:
        """Rows that are due as they were: nobody has refused them."""
        for envelope in envelopes:
            for row in envelope.rows:
                self._rows[row.id] = _Owed(row, row.due, 0.0, row.refusals, row.fault)

    def unpublishable(self, refused: Refused) -> float:
        """Rows of an envelope that cannot be published: each is tried alone from now on; gives the seconds
        until then.
        """
        rows = refused.envelope.rows
        later = 0.0
        for row in rows:
            refusals = (row.refusals or 0) + 1
            if len(rows) == 1:
                later = min(ROW_FIRST * 2.0 ** min(refusals - 1, 10), ROW_CAP)
            self._rows[row.id] = _Owed(row, None, later, refusals, refused.fault)
        return later

    def trying(self, row: OutboxRow, later: float, fault: str) -> None:
        """The row with which an address that refuses is tried next."""
        self._rows[row.id] = _Owed(row, None, later, None, fault)

    def parked(self, rows: Sequence[OutboxRow], later: float, fault: str) -> None:
        """Rows that wait until their address takes envelopes again, unless something else was
        said of them.
        """
        for row in rows:
            self._rows.setdefault(row.id, _Owed(row, None, later, None, fault))

    def write(self, cursor: Cursor, participant: str) -> None:
        """Write all of it."""
        if not self._rows:
            return
        rows = [
            (
                row.id, row.kind, row.topic, row.recipient, row.retry_of, row.signals, row.pack_id,
                row.payload if row.pack_id is None else None, due, later, row.created_at, refusals, fault,
            )
            for row, due, later, refusals, fault in self._rows.values()
        ]  # fmt: skip
        cursor.execute(sql.PUT_BACK, [participant, *(list(column) for column in zip(*rows, strict=True))])
