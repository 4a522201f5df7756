"""Pause a step that fails for many sagas and succeeds for none, and try it with one saga at a time.

Without the pause, a bad release or a dependency that is down for minutes would roll back every order.
While a step is paused, its signals wait in the outbox of its participant as whole packs; nothing is written
to the journal and no attempt is counted. Other steps, refusals and undos of the participant go on.

Each process counts failures by itself (:mod:`ordersaga.circuit_breaker`). The participant's database records
that a step is paused, so that one process probes at a time. A process that has not seen the failures goes on
as long as the step succeeds there.
"""

from __future__ import annotations

import logging
import os
import random
import socket
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from ordersaga.envelope import Reader, SignalRow, with_plain_data
from ordersaga.errors import WaitAborted
from ordersaga.job import StepJob
from ordersaga.journal import clean
from ordersaga.log import LogEvent, failure, safe_message
from ordersaga.protocol import forward
from ordersaga.protocol.context import Context
from ordersaga.signal import topic_of
from ordersaga.sql import paused_step as paused_step_sql
from ordersaga.step import Step

logger = logging.getLogger(__name__)

FALLBACK = timedelta(seconds=60)
"""When deferred signals become due although no probe succeeded: the process that probed may have died."""


class Admission(NamedTuple):
    """Which rows of an envelope may be handled by a step that is paused in this process.

    :ivar probe: whether ``rows`` is one row that tests the step; otherwise another process has resumed it.
    """

    rows: list[SignalRow[Any]]
    probe: bool


# -- in the participant's database


def pause(context: Context, step: Step, row: SignalRow[Any], error: Exception) -> bool:
    """Record that a step is paused and keep ``row`` for a probe; return False if it was paused before."""
    process = f"{os.getpid()}@{socket.gethostname()}"
    context.cursor.execute(
        paused_step_sql.PAUSE, [step.key, step.participant, clean(safe_message(error), 500), process]
    )
    new, wait = context.cursor.fetchone()
    defer(context, [row], wait)
    context.outbox.flush(context.cursor)
    return bool(new)


def admit(context: Context, step: Step, rows: Sequence[SignalRow[Any]]) -> Admission:
    """Choose the rows that may run: all if the step was resumed, one if a probe is due, otherwise none.

    The others are deferred.
    """
    context.cursor.execute(paused_step_sql.PROBE, [step.key])
    probe = context.cursor.fetchone() is not None
    chosen: list[SignalRow[Any]] = []
    if probe:
        # at random: a faulty order at the front must not be the probe each time
        chosen = [random.choice(rows)]
    else:
        context.cursor.execute(paused_step_sql.WAIT, [step.key])
        if context.cursor.fetchone() is None:
            return Admission(list(rows), probe=False)
    defer(context, [row for row in rows if row not in chosen])
    context.outbox.flush(context.cursor)
    return Admission(chosen, probe)


def defer_if_paused(context: Context, step: Step, row: SignalRow[Any]) -> bool:
    """Defer a row that failed here if another process has paused the step; return whether it has."""
    context.cursor.execute(paused_step_sql.WAIT, [step.key])
    found = context.cursor.fetchone()
    if found is not None:
        defer(context, [row])
        context.outbox.flush(context.cursor)
    return found is not None


def defer_probe(context: Context, step: Step, row: SignalRow[Any]) -> None:
    """Keep the row of a failed probe for the next one."""
    context.cursor.execute(paused_step_sql.WAIT, [step.key])
    found = context.cursor.fetchone()
    defer(context, [row], found[0] if found else timedelta(seconds=1))
    context.outbox.flush(context.cursor)


def resume(context: Context, step: Step) -> bool:
    """Record that a step works, and make its deferred signals due; return False if it was not paused."""
    context.cursor.execute(paused_step_sql.RESUME, [step.key])
    resumed = context.cursor.fetchone() is not None
    context.cursor.execute(
        paused_step_sql.RELEASE, [context.participant.name, topic_of(step.signature.consumes)]
    )
    return resumed


def defer(context: Context, rows: Iterable[SignalRow[Any]], wait: timedelta = FALLBACK) -> None:
    """Keep rows in the outbox for later, grouped by the participant that emitted them."""
    by: dict[str, list[SignalRow[Any]]] = {}
    for row in rows:
        by.setdefault(row.by, []).append(row)
    for emitter, group in by.items():
        header = context.outbox.header._replace(participant=emitter)
        context.outbox.defer(group, header, context.topic, wait)


# -- in this process


def pause_in_process(job: StepJob, row: SignalRow[Any], error: Exception) -> None:
    """Pause the step; ``row`` is the next probe."""
    job.breaker.pause()
    kept = with_plain_data(row)
    first = job.run(lambda context: pause(context, job.step, kept, error), wait_for_locks=True)
    _report_paused(job, error)
    if first:
        sentence = "The step is paused, because it fails for every saga."
        logger.error(LogEvent("step_paused", sentence, **failure(error, whole=True)))


def defer_rest(job: StepJob, rows: Sequence[SignalRow[Any]]) -> None:
    """Defer the remaining rows of an envelope after its step was paused."""
    kept = [with_plain_data(row) for row in rows]

    def store(context: Context) -> None:
        defer(context, kept)
        context.outbox.flush(context.cursor)

    job.run(store, wait_for_locks=True)


def probe(job: StepJob, reader: Reader, row: SignalRow[Any]) -> None:
    """Run the paused step for one saga; if it succeeds, the same transaction resumes the step."""

    def run_one(context: Context) -> int:
        result = forward.run_step(context, job.step, [row._replace(data=reader.signal_of(row))])
        if result.sagas:
            resume(context, job.step)
        return result.sagas

    try:
        sagas = job.run(run_one, job.time_limit)
    except WaitAborted:
        raise
    except Exception as error:  # noqa: BLE001 - the step stays paused
        job.run(lambda context: defer_probe(context, job.step, row), wait_for_locks=True)
        _report_paused(job, error)
        logger.info(LogEvent("step_probe_failed", "The step stays paused.", **failure(error)))
    else:
        if sagas:
            resume_in_process(job)


def resume_in_process(job: StepJob) -> None:
    """Let all signals reach the step again."""
    job.breaker.resume()
    job.transactions.report(job.step.key, "")
    logger.warning(LogEvent("step_resumed", "The step is resumed.", step=job.step.key))


def _report_paused(job: StepJob, error: Exception) -> None:
    sentence = f"is paused, because it fails for every saga: {safe_message(error)}"
    job.transactions.report(job.step.key, sentence)
