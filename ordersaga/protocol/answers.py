"""The initiator records the answers of participants and their requests for attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ordersaga.envelope import SignalRow
from ordersaga.protocol.context import Context
from ordersaga.sql import saga as saga_sql


def record_answers(context: Context, rows: Sequence[SignalRow[Any]]) -> None:
    """Record which participants have compensated their sagas (docs/PROTOCOL.md, rule 7)."""
    received = {row.saga: row for row in rows}
    answers = sorted({(row.saga, str(row.data["participant"])) for row in rows})
    context.record_answers(answers, received)
    context.outbox.flush(context.cursor)


def record_attention(context: Context, rows: Sequence[SignalRow[Any]]) -> None:
    """Flag sagas that a participant cannot continue, until they move or end."""
    context.lock_sagas(row.saga for row in rows)
    for row in rows:
        context.cursor.execute(saga_sql.ATTENTION, [row.reason or "needs attention", [row.saga]])
