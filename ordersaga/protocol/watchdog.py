"""The watchdog re-sends what a saga that does not move waits for (docs/PROTOCOL.md, rule 12)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import orjson

from ordersaga.batch import SagaId
from ordersaga.envelope import SignalRow
from ordersaga.log import LogEvent
from ordersaga.outbox import WATCHDOG, cancel_timers, read_emitted
from ordersaga.protocol.context import Context
from ordersaga.sql import array
from ordersaga.sql import saga as saga_sql

logger = logging.getLogger(__name__)


class WatchedSaga(NamedTuple):
    """A saga's row as the watchdog reads it.

    :ivar rounds: reminders since the saga last moved.
    :ivar still: the time since then.
    """

    saga: SagaId
    status: str
    pack_id: int
    refusal: str | None
    refused_by: str | None
    reason: str | None
    refused_with: str | None
    rounds: int
    ended: bool
    still: timedelta


def watch(context: Context, rows: Sequence[SignalRow[Any]]) -> None:
    """Remind sagas that have not moved for their interval, and set the next timers.

    A row marked *again*, from an operator who resumes a saga, reminds it even if it has moved.
    """
    received = context.by_saga(rows)
    context.cursor.execute(saga_sql.WATCH, [array(sorted(received))])
    watched = [WatchedSaga(*row) for row in context.cursor.fetchall()]
    watchdog = context.choreography.saga.watchdog
    ended = [w.saga for w in watched if w.ended]
    if ended:
        cancel_timers(context.cursor, ended, "watchdog", "deadline")
    waiting = []
    for w in watched:
        if w.ended:
            continue
        interval = watchdog.wait(w.rounds)
        if w.still < interval and not received[w.saga].again:
            context.outbox.timer(w.saga, "watchdog", WATCHDOG, interval - w.still)
        else:
            waiting.append(w)
            context.outbox.timer(w.saga, "watchdog", WATCHDOG, watchdog.wait(w.rounds + 1))
    if waiting:
        _remind(context, waiting, received)
    context.outbox.flush(context.cursor)


def _remind(context: Context, waiting: Sequence[WatchedSaga], received: dict[SagaId, SignalRow[Any]]) -> None:
    context.cursor.execute(saga_sql.ROUND, [array(w.saga for w in waiting)])
    sentence = "Sagas that did not move are reminded of the signals that they wait for."
    logger.info(LogEvent("sagas_reminded", sentence, sagas=len(waiting)))
    packs = {w.saga: [w.pack_id] for w in waiting if w.status == "PENDING"}
    if confirmed := [w.saga for w in waiting if w.status == "CONFIRMED"]:
        packs |= _confirmations(context, confirmed)
    signals = read_emitted(context.cursor, packs, published_by=context.participant.name)
    for saga, emitted in signals.items():
        for topic, row in emitted:
            context.outbox.repeat(saga, topic, row, received[saga])
    for w in waiting:
        if w.status == "ROLLING_BACK":
            version, data = orjson.loads(w.refused_with or "[1, {}]")
            row = SignalRow("", w.saga, None, version, "", 1, None, w.reason, data)
            context.outbox.repeat(w.saga, f"refusal.{w.refusal}", row, received[w.saga])
        context.outbox.notice(w.saga, received[w.saga], "reminded", round=w.rounds + 1, status=w.status)
        if w.rounds + 1 >= context.choreography.saga.watchdog.rounds:
            _flag(context, w, received[w.saga])


def _confirmations(context: Context, sagas: Sequence[SagaId]) -> dict[SagaId, list[int]]:
    """The packs with the confirmations of confirmed sagas."""
    confirming = {step.key for step in context.choreography.confirming()}
    return {
        entry.saga: [entry.pack_id]
        for entry in context.journal.read(sagas)
        if entry.step in confirming and entry.pack_id is not None and entry.state == "done"
    }


def _flag(context: Context, watched: WatchedSaga, cause: SignalRow[Any]) -> None:
    reminders = watched.rounds + 1
    reason = f"{watched.status} and still after {reminders} reminders"
    context.cursor.execute(saga_sql.ATTENTION, [reason, [watched.saga]])
    fields = {**context.log_fields(cause, look_up=True), "status": watched.status, "reminders": reminders}
    sentence = "The saga does not move despite reminders; it needs attention."
    logger.error(LogEvent("saga_stalled", sentence, **fields))
