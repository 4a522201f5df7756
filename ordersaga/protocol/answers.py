"""What the initiator hears of the other participants: answers, and that a person must look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ordersaga.envelope import SignalRow
from ordersaga.protocol.context import Context
from ordersaga.sql import saga as sql


def record_answers(context: Context, rows: Sequence[SignalRow[Any]]) -> None:
    """Participants say that nothing of their sagas is left with them (docs/PROTOCOL.md, rule 7)."""
    causes = {row.saga: row for row in rows}
    answers = sorted({(row.saga, str(row.data["participant"])) for row in rows})
    context.record_answers(answers, causes)
    context.outbox.flush(context.cursor)


def record_attention(context: Context, rows: Sequence[SignalRow[Any]]) -> None:
    """A participant cannot go on by itself; the saga is flagged until it moves or ends."""
    context.lock_sagas(row.saga for row in rows)
    for row in rows:
        context.cursor.execute(sql.ATTENTION, [row.reason or "needs attention", [row.saga]])
