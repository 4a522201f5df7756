"""Forward steps: docs/PROTOCOL.md, rules 1 to 4, and rule 9 for late and repeated signals."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import orjson

from ordersaga.batch import SagaId
from ordersaga.envelope import SignalRow, with_plain_data
from ordersaga.journal import LATE, Entry, clean
from ordersaga.log import LogEvent, failure, log_context, safe_message
from ordersaga.outbox import cancel_timers, next_pack, read_emitted
from ordersaga.protocol.context import Context, RollbackCause
from ordersaga.signal import Refusal, Signal, StepFailed
from ordersaga.sql import array
from ordersaga.sql import saga as saga_sql
from ordersaga.step import Step

logger = logging.getLogger(__name__)


class StepResult(NamedTuple):
    """The number of the attempt, and the number of sagas for which the step's function ran."""

    attempt: int
    sagas: int


def run_step(context: Context, step: Step, rows: Sequence[SignalRow[Any]]) -> StepResult:
    """Run a step for each saga where it is not done; for the others, re-send what rule 9 demands.

    All of this is one transaction: the journal rows, the step's function, the status and the outbox.
    """
    received = context.by_saga(rows)
    begun = context.journal.begin_step(step.key, sorted(received))
    context.outbox.header = context.outbox.header._replace(attempt=begun.attempts)
    runnable = begun.runnable
    if step.decides:
        runnable = _lock_pending(context, step, received, runnable)
        barred = [saga for saga, entry in begun.found.items() if entry.state == "barred"]
        _call_too_late(context, step, received, barred)
    if runnable:
        signals = {saga: received[saga].data for saga in runnable}
        fields = context.log_fields(rows[0]) if len(rows) == 1 else {}
        with log_context(attempt=begun.attempts, **fields):
            results = step.signature.run(step.function, signals, context.tx.db)
        causes = _emit(context, step, received, results)
        context.journal.set(step.key, "refused", sorted(causes))
        if step.decides and step.refusals:
            silent = [saga for saga in runnable if saga not in causes]
            context.journal.set(step.key, "void", silent)
            context.roll_back(causes)
        elif step.confirms:
            context.confirm(runnable, complete=context.choreography.ends_confirmed(step))
        elif context.choreography.completes(step):
            _complete(context, received, runnable)
    if begun.found:
        _repeat(context, received, begun.found)
    context.outbox.flush(context.cursor, begun.pack_id)
    return StepResult(begun.attempts, len(runnable))


def _emit(
    context: Context,
    step: Step,
    received: dict[SagaId, SignalRow[Any]],
    results: dict[SagaId, Signal | None],
) -> dict[SagaId, RollbackCause]:
    """Emit what the step returned; return the causes of the sagas that it refused."""
    causes: dict[SagaId, RollbackCause] = {}
    for saga, signal in results.items():
        if signal is None:
            continue
        context.outbox.emit(saga, signal, cause=received[saga])
        if isinstance(signal, Refusal):
            causes[saga] = RollbackCause.by(signal, step.participant)
    return causes


def _lock_pending(
    context: Context, step: Step, received: dict[SagaId, SignalRow[Any]], sagas: list[SagaId]
) -> list[SagaId]:
    """Lock the sagas and return those that are PENDING; for the others the step becomes void (rule 3).

    The caller changes the status of the returned sagas after the step's function has run.
    """
    # One statement locks all received sagas, because late ones may be answered in this transaction.
    # Two statements could deadlock with a rival.
    status = context.lock_sagas(received) if sagas else {}
    winners = [saga for saga in sagas if status.get(saga) == "PENDING"]
    losers = [saga for saga in sagas if status.get(saga) != "PENDING"]
    context.journal.set(step.key, "void", losers)
    _call_too_late(context, step, received, losers)
    for saga in losers:
        context.outbox.notice(saga, received[saga], "too late", step=step.key, status=status.get(saga))
    return winners


def _call_too_late(
    context: Context, step: Step, received: dict[SagaId, SignalRow[Any]], late: Sequence[SagaId]
) -> None:
    """Call the step's ``too_late`` function for sagas that another decision or a refusal has overtaken."""
    readable = {saga: received[saga].data for saga in sorted(late) if isinstance(received[saga].data, Signal)}
    if readable and step.late is not None:
        signature, function = step.late
        signature.run(function, readable, context.tx.db)


def _complete(context: Context, received: dict[SagaId, SignalRow[Any]], sagas: list[SagaId]) -> None:
    """Complete sagas whose pivot is done (rule 12), and cancel their watchdogs."""
    context.lock_sagas(received)
    context.cursor.execute(saga_sql.COMPLETE, [array(sagas)])
    completed = {saga for (saga,) in context.cursor.fetchall()}
    if len(completed) < len(sagas):
        missing = sorted(set(sagas) - completed)[:3]
        raise RuntimeError(f"the pivot is done and the saga is not CONFIRMED and open: {missing}")
    cancel_timers(context.cursor, sagas, "watchdog")
    for saga in sagas:
        context.outbox.notice(saga, received[saga], "complete")


def _repeat(context: Context, received: dict[SagaId, SignalRow[Any]], found: dict[SagaId, Entry]) -> None:
    """Re-send recorded signals for sagas where the step may not run again (rule 9)."""
    repeated: dict[SagaId, list[int]] = {
        saga: [entry.pack_id]
        for saga, entry in found.items()
        if entry.state == "done" and received[saga].again and entry.pack_id is not None
    }
    # Signals that the outbox still owes need no copy: while the broker is away, each reminder would add one.
    signals = read_emitted(context.cursor, repeated, published_by=context.participant.name)
    late = sorted(saga for saga, entry in found.items() if entry.state in LATE)
    if late:
        compensated, refused = context.compensated(late)
        signals.update(
            read_emitted(context.cursor, {saga: refused[saga] for saga in late if saga in refused})
        )
        context.answer({saga: received[saga] for saga in late if saga in compensated})
    for saga, emitted in signals.items():
        for topic, row in emitted:
            context.outbox.repeat(saga, topic, row, received[saga])


def record_failure(context: Context, step: Step, row: SignalRow[Any], error: Exception, trace: str) -> bool:
    """Record that a step raised: retry it with backoff, or give it up after its last attempt (rule 2).

    :returns: False when the step may no longer run, because a rival ran it or a refusal barred it.
    """
    attempts = context.journal.count_attempt(step.key, row.saga)
    if attempts is None:
        return False
    context.outbox.header = context.outbox.header._replace(attempt=attempts)
    summary = clean(f"{type(error).__name__}: {error}", 500)
    exhausted = attempts >= step.retry.attempts or not isinstance(error, step.retry.transient)
    context.outbox.notice(row.saga, row, "failed", reason=summary, step=step.key, attempt=attempts)
    pack_id = None
    if exhausted and not step.never_gives_up:
        pack_id = next_pack(context.cursor)
        _give_up(context, step, row, error, trace, attempts, summary, pack_id)
    else:
        wait = step.retry.wait(attempts)
        _log_failure(context, step, row, error, attempts, exhausted, wait)
        header = context.outbox.header._replace(participant=row.by)
        context.outbox.retry_later(with_plain_data(row), header, context.topic, wait)
    context.outbox.flush(context.cursor, pack_id)
    return True


def _give_up(
    context: Context,
    step: Step,
    row: SignalRow[Any],
    error: Exception,
    trace: str,
    attempts: int,
    summary: str,
    pack_id: int,
) -> None:
    """Mark the step refused, emit StepFailed and keep the signal as a dead letter."""
    fields = _log_fields(context, step, row, attempts)
    context.journal.give_up(step.key, row.saga, pack_id)
    context.outbox.emit(row.saga, StepFailed(step=step.key, error=safe_message(error)), cause=row)
    plain = with_plain_data(row)
    signal = orjson.dumps(plain.data).decode()
    versioned = f"[{plain.version},{signal}]"  # a later release must be able to read it
    context.journal.add_dead_letter(
        context.participant.name, row.saga, step.key, context.topic, versioned, error, trace, attempts
    )
    context.outbox.notice(
        row.saga,
        row,
        "dead letter",
        reason=summary,
        step=step.key,
        topic=context.topic,
        attempts=attempts,
        error=f"{type(error).__module__}.{type(error).__qualname__}",
        traceback=clean(trace),
        signal=signal,
    )
    sentence = "The step failed for the last time; its signal is a dead letter and the saga is rolled back."
    logger.error(LogEvent("step_given_up", sentence, **fields, **failure(error, whole=True)))


def _log_failure(
    context: Context,
    step: Step,
    row: SignalRow[Any],
    error: Exception,
    attempts: int,
    exhausted: bool,
    wait: timedelta,
) -> None:
    """Log a failed attempt; flag the saga for attention each time the step's attempts are exhausted."""
    fields = _log_fields(context, step, row, attempts)
    if exhausted and attempts % step.retry.attempts == 0:
        context.outbox.attention(row.saga, row, f"{step.key} keeps failing: {safe_message(error)}")
        sentence = "The step keeps failing and is still retried; the saga needs attention."
        logger.error(LogEvent("step_keeps_failing", sentence, **fields, **failure(error, whole=True)))
    else:
        fields["wait"] = round(wait.total_seconds(), 3)
        sentence = "The step failed; it is retried."
        logger.warning(LogEvent("step_failed_retrying", sentence, **fields, **failure(error)))


def _log_fields(context: Context, step: Step, row: SignalRow[Any], attempts: int) -> dict[str, Any]:
    return {**context.log_fields(row, look_up=True), "step": step.key, "attempt": attempts}


def may_run(context: Context, step: Step, saga: SagaId) -> bool:
    """Whether a step may still run for a saga, by committed rows; locks nothing."""
    return all(entry.state == "retrying" for entry in context.journal.read([saga]) if entry.step == step.key)
