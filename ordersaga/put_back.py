"""Put claimed rows that were not published back into the outbox, in the transaction of the claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ordersaga.claim import OutboxRow, OutgoingEnvelope, RejectedEnvelope
from ordersaga.database import Cursor
from ordersaga.sql import outbox as outbox_sql

ROW_FIRST, ROW_CAP = 1.0, 60.0
"""Seconds between two attempts of a row that cannot be published: first (it doubles) and longest."""


class _Postponed(NamedTuple):
    """A row that is due at ``due`` (seconds since the epoch) or in ``later`` seconds."""

    row: OutboxRow
    due: float | None
    later: float
    refusals: int | None
    fault: str | None


class PutBack:
    """Collects the rows of one claim; for a row of several envelopes the last call counts."""

    def __init__(self) -> None:
        self._rows: dict[int, _Postponed] = {}

    def unchanged(self, envelopes: Sequence[OutgoingEnvelope]) -> None:
        """Keep the due times of rows that were not rejected."""
        for envelope in envelopes:
            for row in envelope.rows:
                self._rows[row.id] = _Postponed(row, row.due, 0.0, row.refusals, row.fault)

    def unpublishable(self, rejected: RejectedEnvelope) -> float:
        """Postpone the rows of an envelope that cannot be published; each then gets its own envelope.

        :returns: the seconds until then.
        """
        rows = rejected.envelope.rows
        later = 0.0
        for row in rows:
            refusals = (row.refusals or 0) + 1
            if len(rows) == 1:
                later = min(ROW_FIRST * 2.0 ** min(refusals - 1, 10), ROW_CAP)
            self._rows[row.id] = _Postponed(row, None, later, refusals, rejected.fault)
        return later

    def retry_routing_key(self, row: OutboxRow, later: float, fault: str) -> None:
        """Set the row with which a refused routing key is tried next."""
        self._rows[row.id] = _Postponed(row, None, later, None, fault)

    def park(self, rows: Sequence[OutboxRow], later: float, fault: str) -> None:
        """Postpone rows until their routing key is accepted again, unless they are collected already."""
        for row in rows:
            self._rows.setdefault(row.id, _Postponed(row, None, later, None, fault))

    def write(self, cursor: Cursor, participant: str) -> None:
        if not self._rows:
            return
        rows = [
            (
                row.id, row.kind, row.topic, row.recipient, row.retry_of, row.signals, row.pack_id,
                row.payload if row.pack_id is None else None, due, later, row.created_at, refusals, fault,
            )
            for row, due, later, refusals, fault in self._rows.values()
        ]  # fmt: skip
        cursor.execute(
            outbox_sql.PUT_BACK, [participant, *(list(column) for column in zip(*rows, strict=True))]
        )
