"""Forward steps: docs/PROTOCOL.md, rules 1 to 4, and rule 9 for what comes late."""

from __future__ import annotations

import logging
from collections.abc import Sequence
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
from ordersaga.sql import saga as sql
from ordersaga.step import Step

logger = logging.getLogger(__name__)


class Ran(NamedTuple):
    """Which attempt of a step this was, and for how many sagas its function ran."""

    attempt: int
    sagas: int


def run(context: Context, step: Step, rows: Sequence[SignalRow[Any]]) -> Ran:
    """Run a step for every saga where it has not been done; repeat what must be repeated for the others."""
    heard = context.by_saga(rows)
    begun = context.journal.begin(step.key, sorted(heard))
    context.outbox.header = context.outbox.header._replace(attempt=begun.attempts)
    runnable = begun.runnable
    if step.decides:
        runnable = _decide(context, step, heard, runnable)
        _tell(context, step, heard, [saga for saga, entry in begun.found.items() if entry.state == "barred"])
    if runnable:
        signals = {saga: heard[saga].data for saga in runnable}
        about = context.log_fields(rows[0]) if len(rows) == 1 else {}
        with log_context(attempt=begun.attempts, **about):
            said = step.signature.run(step.function, signals, context.tx.db)
        turned: dict[SagaId, RollbackCause] = {}
        refused: list[SagaId] = []
        for saga, signal in said.items():
            if signal is None:
                continue
            context.outbox.emit(saga, signal, cause=heard[saga])
            if isinstance(signal, Refusal):
                refused.append(saga)
                turned[saga] = RollbackCause.by(signal, step.participant)
        context.journal.set(step.key, "refused", sorted(refused))
        if step.decides and step.refusals:
            silent = [saga for saga in runnable if saga not in turned]
            context.journal.set(step.key, "void", silent)
            context.roll_back(turned)
        elif step.confirms:
            context.confirm(runnable, complete=context.choreography.ends_confirmed(step))
        elif context.choreography.completes(step):
            _complete(context, heard, runnable)
    if begun.found:
        _repeat(context, heard, begun.found)
    context.outbox.flush(context.cursor, begun.pack_id)
    return Ran(begun.attempts, len(runnable))


def _decide(
    context: Context, step: Step, heard: dict[SagaId, SignalRow[Any]], sagas: list[SagaId]
) -> list[SagaId]:
    """The compare-and-set (rule 3): sagas that are PENDING, locked so until this transaction ends. The losers
    go void.
    """
    # all that were heard, in one go: late ones may have to be answered, and locks taken in two goes could
    # meet in a circle
    status = context.lock_sagas(heard) if sagas else {}
    winners = [saga for saga in sagas if status.get(saga) == "PENDING"]
    losers = [saga for saga in sagas if status.get(saga) != "PENDING"]
    context.journal.set(step.key, "void", losers)
    _tell(context, step, heard, losers)
    for saga in losers:
        context.outbox.notice(saga, heard[saga], "too late", step=step.key, status=status.get(saga))
    return winners


def _tell(context: Context, step: Step, heard: dict[SagaId, SignalRow[Any]], late: Sequence[SagaId]) -> None:
    """Whoever asked for what comes too late is told so: the status has gone, or a refusal has barred the
    step.
    """
    readable = {saga: heard[saga].data for saga in sorted(late) if isinstance(heard[saga].data, Signal)}
    if readable and step.late is not None:
        signature, function = step.late
        signature.run(function, readable, context.tx.db)


def _complete(context: Context, heard: dict[SagaId, SignalRow[Any]], sagas: list[SagaId]) -> None:
    """The pivot is done (rule 12): the saga is complete and nobody needs to watch it any more."""
    context.lock_sagas(heard)
    context.cursor.execute(sql.COMPLETE, [array(sagas)])
    completed = {saga for (saga,) in context.cursor.fetchall()}
    if len(completed) < len(sagas):
        missing = sorted(set(sagas) - completed)[:3]
        raise RuntimeError(f"the pivot is done and the saga is not CONFIRMED and open: {missing}")
    cancel_timers(context.cursor, sagas, "watchdog")
    for saga in sagas:
        context.outbox.notice(saga, heard[saga], "complete")


def _repeat(context: Context, heard: dict[SagaId, SignalRow[Any]], found: dict[SagaId, Entry]) -> None:
    """A signal heard before (rule 9): no effect; what was said is said again where somebody may
    wait for it.
    """
    asked: dict[SagaId, list[int]] = {
        saga: [entry.pack_id]
        for saga, entry in found.items()
        if entry.state == "done" and heard[saga].again and entry.pack_id is not None
    }
    # what the outbox still owes needs no copy: while the broker is away, each reminder would add one
    said = read_emitted(context.cursor, asked, published_by=context.participant.name)
    late = sorted(saga for saga, entry in found.items() if entry.state in LATE)
    if late:
        settled, refused = context.settled(late)
        said.update(read_emitted(context.cursor, {saga: refused[saga] for saga in late if saga in refused}))
        context.answer({saga: heard[saga] for saga in late if saga in settled})
    for saga, signals in said.items():
        for topic, row in signals:
            context.outbox.repeat(saga, topic, row, heard[saga])


def fail(context: Context, step: Step, topic: str, row: SignalRow[Any], error: Exception, trace: str) -> bool:
    """Note that a step raised: a retry with backoff, or after the last attempt a dead letter and StepFailed
    (rule 2).

    :returns: False when the step may no longer run, because a rival did it or a refusal barred it meanwhile.
    """
    attempts = context.journal.count_attempt(step.key, row.saga)
    if attempts is None:
        return False
    context.outbox.header = context.outbox.header._replace(attempt=attempts)
    summary = clean(f"{type(error).__name__}: {error}", 500)
    about = {**context.log_fields(row, look_up=True), "step": step.key, "attempt": attempts}
    spent = attempts >= step.retry.attempts or not isinstance(error, step.retry.transient)
    context.outbox.notice(row.saga, row, "failed", reason=summary, step=step.key, attempt=attempts)
    again = with_plain_data(row)
    pack_id = None
    if spent and not step.never_gives_up:
        pack_id = next_pack(context.cursor)
        context.journal.give_up(step.key, row.saga, pack_id)
        context.outbox.emit(row.saga, StepFailed(step=step.key, error=safe_message(error)), cause=row)
        signal = orjson.dumps(again.data).decode()
        kept = f"[{again.version},{signal}]"  # so that it can be read again by a later deploy
        context.journal.add_dead_letter(
            context.participant.name, row.saga, step.key, topic, kept, error, trace, attempts
        )
        context.outbox.notice(
            row.saga,
            row,
            "dead letter",
            reason=summary,
            step=step.key,
            topic=topic,
            attempts=attempts,
            error=f"{type(error).__module__}.{type(error).__qualname__}",
            traceback=clean(trace),
            signal=signal,
        )
        logger.error(LogEvent("given up, a dead letter", **about, **failure(error, whole=True)))
    else:
        wait = step.retry.wait(attempts)
        if spent and attempts % step.retry.attempts == 0:
            context.outbox.attention(row.saga, row, f"{step.key} keeps failing: {safe_message(error)}")
            logger.error(LogEvent("keeps failing, needs attention", **about, **failure(error, whole=True)))
        else:
            logger.warning(
                LogEvent(
                    "failed, tried again later",
                    **about,
                    wait=round(wait.total_seconds(), 3),
                    **failure(error),
                )
            )
        context.outbox.retry_later(again, context.outbox.header._replace(participant=row.by), topic, wait)
    context.outbox.flush(context.cursor, pack_id)
    return True


def may_run(context: Context, step: Step, saga: SagaId) -> bool:
    """Whether a step may still run for a saga, as committed by now; no row is locked."""
    return all(entry.state == "retrying" for entry in context.journal.read([saga]) if entry.step == step.key)
