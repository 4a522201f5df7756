"""Roll a saga back: bar steps that have not run, undo those that have, then answer.

docs/PROTOCOL.md, rules 5, 6 and 8.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import orjson

from ordersaga.batch import SagaId
from ordersaga.envelope import Reader, SignalRow
from ordersaga.journal import Entry, clean
from ordersaga.log import LogEvent, failure, log_context, safe_message
from ordersaga.outbox import UNDO, next_pack, read_emitted
from ordersaga.protocol.context import Context, RollbackCause
from ordersaga.signal import topic_of
from ordersaga.step import Step, Undo

logger = logging.getLogger(__name__)


def receive_refusals(context: Context, rows: Sequence[SignalRow[Any]]) -> None:
    """Handle refusals of one name, each of a different saga.

    A repeated refusal marked *again* also retries failed undos, because their own retry may be lost.
    """
    received, entries = _record_refusals(context, rows)
    undone = _undo(context, [e for e in entries if e.state in ("done", "undoing")], received)
    compensated, _ = context.compensated(sorted(received))
    context.answer({saga: row for saga, row in received.items() if saga in compensated})
    context.outbox.flush(context.cursor, _pack(context, undone))


def defer_undos(context: Context, row: SignalRow[Any], error: Exception) -> bool:
    """After an undo raised: commit the bars, mark the steps as ``undoing``, and retry later (rule 6).

    :returns: False when there is nothing to undo; the refusal itself must then be handled again.
    """
    _, entries = _record_refusals(context, [row])
    undoable = {s.key for s in context.participant.steps.values() if s.declared_undo}
    waiting = [e.step for e in entries if e.state == "done" and e.step in undoable]
    for step in waiting:
        context.journal.set(step, "undoing", [row.saga])
    if waiting:
        _schedule_retry(context, row, error)
    elif any(e.state == "undoing" for e in entries):
        # A repeated refusal: its sender repeats it again, so no second series of retries starts here.
        summary = clean(f"{type(error).__name__}: {error}", 500)
        context.outbox.notice(row.saga, row, "undo failed", reason=summary)
        steps = ", ".join(e.step for e in entries if e.state == "undoing")
        fields = {**context.log_fields(row, look_up=True), "step": steps, **failure(error)}
        sentence = "The undo failed again for a repeated refusal; its own retry is pending."
        logger.warning(LogEvent("undo_failed_again", sentence, **fields))
    context.outbox.flush(context.cursor)
    return any(e.state == "undoing" or e.step in waiting for e in entries)


def retry_undos(context: Context, rows: Sequence[SignalRow[Any]]) -> None:
    """Run the undos of steps that are ``undoing``, and answer for sagas that are then compensated."""
    received = context.by_saga(rows)
    undone = _undo(context, _undoing(context, sorted(received)), received)
    compensated, _ = context.compensated(sorted(undone))
    context.answer({saga: received[saga] for saga in undone if saga in compensated})
    context.outbox.flush(context.cursor, _pack(context, undone))


def reschedule_undos(context: Context, row: SignalRow[Any], error: Exception) -> bool:
    """After a retried undo raised: schedule the next retry; return False when nothing is left to undo."""
    waiting = _schedule_retry(context, row, error)
    context.outbox.flush(context.cursor)
    return waiting


def _undoing(context: Context, sagas: Sequence[SagaId], *states: str) -> list[Entry]:
    """The locked rows of these sagas that are ``undoing``, or in one of ``states``."""
    return [e for e in context.journal.lock_all(sagas) if e.state in ("undoing", *states)]


def _schedule_retry(context: Context, row: SignalRow[Any], error: Exception) -> bool:
    """Count a failed attempt of the undos and schedule the next; return False when there is none to run.

    After the undo's attempts the saga needs attention, and the retries go on at the longest interval.
    """
    undos = {s.key: s.declared_undo for s in context.participant.steps.values() if s.declared_undo}
    waiting = [e.step for e in context.journal.read([row.saga]) if e.step in undos and e.state == "undoing"]
    if not waiting:
        return False
    attempts = context.journal.count_undo_attempt(row.saga, waiting)
    retry = min((undos[step].retry for step in waiting), key=lambda r: r.attempts)
    summary = clean(f"{type(error).__name__}: {error}", 500)
    context.outbox.notice(row.saga, row, "undo failed", reason=summary, steps=waiting, attempt=attempts)
    steps, wait = ", ".join(waiting), retry.wait(attempts)
    fields: dict[str, Any] = {**context.log_fields(row, look_up=True), "step": steps, "attempt": attempts}
    if attempts % retry.attempts == 0:
        context.outbox.attention(row.saga, row, f"undo of {steps} keeps failing: {safe_message(error)}")
        sentence = "The undo keeps failing and is still retried; the saga needs attention."
        logger.error(LogEvent("undo_keeps_failing", sentence, **fields, **failure(error, whole=True)))
    else:
        fields["wait"] = round(wait.total_seconds(), 3)
        sentence = "The undo failed; it is retried."
        logger.warning(LogEvent("undo_failed_retrying", sentence, **fields, **failure(error)))
    context.outbox.retry_later(row, context.outbox.header, UNDO, wait)
    return True


def _record_refusals(
    context: Context, rows: Sequence[SignalRow[Any]]
) -> tuple[dict[SagaId, SignalRow[Any]], list[Entry]]:
    """Record the refusals, bar steps, and at the initiator change the status to ROLLING_BACK.

    :returns: the refusal of each saga; and the journal rows of sagas whose first refusal this is, with what
        is still to be undone of those that are repeated. The journal is locked before the sagas, each in one
        statement: another order could deadlock.
    """
    received = context.by_saga(rows)
    first = sorted(context.journal.record_refusal(sorted(received)))
    entries: list[Entry] = []
    if first:
        before = {(e.saga, e.step) for e in context.journal.read(first) if e.state != "retrying"}
        entries = context.journal.bar(first, context.keys)
        barred = [e for e in entries if e.state == "barred" and (e.saga, e.step) not in before]
        for saga in first:
            if steps := [e.step for e in barred if e.saga == saga]:
                context.outbox.notice(saga, received[saga], "barred", steps=steps)
    if repeated := sorted(saga for saga, row in received.items() if row.again and saga not in first):
        # a row that is still ``done`` belongs to a step that the previous release did not declare
        entries += _undoing(context, repeated, "done")
    _flag_undeclared(context, entries, received)
    if first and context.initiates:
        status = context.lock_sagas(received)
        name = context.topic.removeprefix("refusal.")
        turning = [saga for saga in first if status.get(saga) in ("PENDING", "CONFIRMED")]
        context.roll_back({saga: _cause_of(received[saga], name) for saga in turning})
    return received, entries


def _flag_undeclared(
    context: Context, entries: Sequence[Entry], received: dict[SagaId, SignalRow[Any]]
) -> None:
    """Flag sagas with a done step that this release does not declare and so cannot undo; they stay open."""
    for entry in entries:
        if context.is_undeclared(entry):
            reason = f"{entry.step} is done and no longer declared, so it cannot be undone: declare it again"
            context.outbox.attention(entry.saga, received[entry.saga], reason)
            sentence = "A done step is no longer declared and cannot be undone; the saga needs attention."
            logger.error(LogEvent("undeclared_step_done", sentence, saga=entry.saga, step=entry.step))


def _cause_of(row: SignalRow[Any], name: str) -> RollbackCause:
    return RollbackCause(name, row.by, row.reason or name, orjson.dumps([row.version, row.data]).decode())


def _undo(
    context: Context, entries: Sequence[Entry], received: dict[SagaId, SignalRow[Any]]
) -> dict[SagaId, list[str]]:
    """Run the undos of these rows, the newest step first, each for all its sagas at once.

    :returns: the steps that were undone, by saga.
    """
    undone: dict[SagaId, list[str]] = {}
    for step in context.choreography.undo_order(list(context.participant.steps.values())):
        mine = {e.saga: e for e in entries if e.step == step.key}
        if not mine or step.declared_undo is None:
            continue
        sagas = sorted(mine)
        signals = _emitted_signals(context, step, step.declared_undo, [mine[saga] for saga in sagas])
        results: dict[SagaId, Any] = {}
        if signals:
            with log_context(step=step.key):
                results = step.declared_undo.signature.run(
                    step.declared_undo.function, signals, context.tx.db
                )
        context.journal.set(step.key, "undone", sagas)
        for saga in sagas:
            undone.setdefault(saga, []).append(step.key)
            if (signal := results.get(saga)) is not None:
                context.outbox.emit(saga, signal, cause=received[saga])
    for saga, steps in undone.items():
        context.outbox.notice(saga, received[saga], "undone", steps=steps)
    return undone


def _emitted_signals(context: Context, step: Step, undo: Undo, entries: Sequence[Entry]) -> dict[SagaId, Any]:
    """The signals that the step emitted, as its undo receives them; sagas without one are left out.

    :raises LookupError: when the recorded signal is missing, so that the undo cannot be skipped by mistake.
    """
    readers = {topic_of(signal): Reader(signal) for signal in undo.signature.inputs}
    packs = {e.saga: [e.pack_id] for e in entries if e.pack_id is not None}
    found = {
        saga: readers[topic].signal_of(row)
        for saga, emitted in read_emitted(context.cursor, packs).items()
        for topic, row in emitted
        if topic in readers
    }
    if not step.signature.may_be_silent and (lost := [e for e in entries if e.saga not in found]):
        saga, pack = lost[0].saga, lost[0].pack_id
        raise LookupError(
            f"pack {pack} does not contain the signal of {step.key} for saga {saga}: it was deleted"
        )
    return found


def _pack(context: Context, undone: dict[SagaId, list[str]]) -> int | None:
    """A pack id for the signals of the undos, if any ran."""
    return next_pack(context.cursor) if undone else None
