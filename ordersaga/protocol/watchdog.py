"""The watchdog: a saga that does not move is reminded of what it waits for (docs/PROTOCOL.md, rule 12)."""

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
from ordersaga.sql import saga as sql

logger = logging.getLogger(__name__)


class Watched(NamedTuple):
    """A saga's row as the watchdog reads it."""

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
    """For sagas whose watchdog came due: say again what each waits for, unless it has moved, and come back
    later.

    An operator who resumes a saga sends a copy marked *again*: it is reminded though it may have moved.
    """
    causes = context.by_saga(rows)
    context.cursor.execute(sql.WATCH, [array(sorted(causes))])
    watched = [Watched(*row) for row in context.cursor.fetchall()]
    dog = context.choreography.saga.watchdog
    ended = [w.saga for w in watched if w.ended]
    if ended:
        cancel_timers(context.cursor, ended, "watchdog", "deadline")
    waiting = []
    for w in watched:
        if w.ended:
            continue
        if w.still < dog.wait(w.rounds) and not causes[w.saga].again:
            context.outbox.timer(w.saga, "watchdog", WATCHDOG, dog.wait(w.rounds) - w.still)
        else:
            waiting.append(w)
            context.outbox.timer(w.saga, "watchdog", WATCHDOG, dog.wait(w.rounds + 1))
    if waiting:
        _remind(context, waiting, causes)
    context.outbox.flush(context.cursor)


def _remind(context: Context, waiting: Sequence[Watched], causes: dict[SagaId, SignalRow[Any]]) -> None:
    context.cursor.execute(sql.ROUND, [array(w.saga for w in waiting)])
    logger.info(LogEvent("reminded of what they wait for", sagas=len(waiting)))
    packs = {w.saga: [w.pack_id] for w in waiting if w.status == "PENDING"}
    confirmed = [w.saga for w in waiting if w.status == "CONFIRMED"]
    if confirmed:
        confirming = {step.key for step in context.choreography.confirming()}
        for entry in context.journal.read(confirmed):
            if entry.step in confirming and entry.pack_id is not None and entry.state == "done":
                packs[entry.saga] = [entry.pack_id]
    for saga, said in read_emitted(context.cursor, packs, published_by=context.participant.name).items():
        for topic, row in said:
            context.outbox.repeat(saga, topic, row, causes[saga])
    for w in waiting:
        if w.status == "ROLLING_BACK":
            version, data = orjson.loads(w.refused_with or "[1, {}]")
            row = SignalRow("", w.saga, None, version, "", 1, None, w.reason, data)
            context.outbox.repeat(w.saga, f"refusal.{w.refusal}", row, causes[w.saga])
        context.outbox.notice(w.saga, causes[w.saga], "reminded", round=w.rounds + 1, status=w.status)
        if w.rounds + 1 >= context.choreography.saga.watchdog.rounds:
            reason = f"{w.status} and still after {w.rounds + 1} reminders"
            context.cursor.execute(sql.ATTENTION, [reason, [w.saga]])
            about = context.log_fields(causes[w.saga], look_up=True)
            logger.error(
                LogEvent("stands still, needs attention", **about, status=w.status, reminders=w.rounds + 1)
            )
