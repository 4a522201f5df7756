"""A refusal is heard: bar what has not run, undo what has, answer when nothing is left (docs/PROTOCOL.md,
rules 5, 6 and 8).
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


def receive_refusals(context: Context, topic: str, rows: Sequence[SignalRow[Any]]) -> None:
    """Refusals of one name reach this participant, each of another saga.

    One that was heard before and is said *again* tries what is *undoing*: the row that would have retried it
    may be lost.
    """
    causes, entries = _record_refusals(context, topic, rows)
    undone = _undo(context, [e for e in entries if e.state in ("done", "undoing")], causes)
    settled, _ = context.settled(sorted(causes))
    context.answer({saga: cause for saga, cause in causes.items() if saga in settled})
    context.outbox.flush(context.cursor, _pack(context, undone))


def defer_undos(context: Context, topic: str, row: SignalRow[Any], error: Exception) -> bool:
    """An undo raised: commit the bars, mark what is to be undone, and try the undo again later (rule 6).

    :returns: False when there is nothing to undo, so that the refusal itself has to be handled again.
    """
    _, entries = _record_refusals(context, topic, [row])
    undoable = {s.key for s in context.participant.steps.values() if s.undoing}
    waiting = [e.step for e in entries if e.state == "done" and e.step in undoable]
    for step in waiting:
        context.journal.set(step, "undoing", [row.saga])
    if waiting:
        _schedule_retry(context, row, error)
    elif any(e.state == "undoing" for e in entries):
        # heard before: whoever reminds us will do so again, so no second row of retries is begun
        context.outbox.notice(
            row.saga, row, "undo failed", reason=clean(f"{type(error).__name__}: {error}", 500)
        )
        steps = ", ".join(e.step for e in entries if e.state == "undoing")
        logger.warning(
            LogEvent(
                "undo failed again", **context.log_fields(row, look_up=True), step=steps, **failure(error)
            )
        )
    context.outbox.flush(context.cursor)
    return any(e.state == "undoing" or e.step in waiting for e in entries)


def retry_undos(context: Context, rows: Sequence[SignalRow[Any]]) -> None:
    """The undo of what is marked *undoing* is tried once more."""
    causes = context.by_saga(rows)
    undone = _undo(context, _undoing(context, sorted(causes)), causes)
    settled, _ = context.settled(sorted(undone))
    context.answer({saga: causes[saga] for saga in undone if saga in settled})
    context.outbox.flush(context.cursor, _pack(context, undone))


def reschedule_undos(context: Context, row: SignalRow[Any], error: Exception) -> bool:
    """An undo that is tried again raised once more; whether there is still something to undo."""
    waiting = _schedule_retry(context, row, error)
    context.outbox.flush(context.cursor)
    return waiting


def _undoing(context: Context, sagas: Sequence[SagaId], *states: str) -> list[Entry]:
    """What is still to be undone of these sagas, locked."""
    return [e for e in context.journal.lock_all(sagas) if e.state in ("undoing", *states)]


def _schedule_retry(context: Context, row: SignalRow[Any], error: Exception) -> bool:
    """Count the attempt and try later; after the undo's attempts the saga needs attention, and it goes on at
    the cap.

    :returns: whether there is something to undo.
    """
    undos = {s.key: s.undoing for s in context.participant.steps.values() if s.undoing}
    waiting = [e.step for e in context.journal.read([row.saga]) if e.step in undos and e.state == "undoing"]
    if not waiting:
        return False
    attempts = context.journal.count_undo_attempt(row.saga, waiting)
    retry = min((undos[step].retry for step in waiting), key=lambda r: r.attempts)
    summary = clean(f"{type(error).__name__}: {error}", 500)
    context.outbox.notice(row.saga, row, "undo failed", reason=summary, steps=waiting, attempt=attempts)
    about = {**context.log_fields(row, look_up=True), "step": ", ".join(waiting), "attempt": attempts}
    wait = retry.wait(attempts)
    if attempts % retry.attempts == 0:
        context.outbox.attention(
            row.saga, row, f"undo of {', '.join(waiting)} keeps failing: {safe_message(error)}"
        )
        logger.error(LogEvent("undo keeps failing, needs attention", **about, **failure(error, whole=True)))
    else:
        logger.warning(
            LogEvent(
                "undo failed, tried again later",
                **about,
                wait=round(wait.total_seconds(), 3),
                **failure(error),
            )
        )
    context.outbox.retry_later(row, context.outbox.header, UNDO, wait)
    return True


def _record_refusals(
    context: Context, topic: str, rows: Sequence[SignalRow[Any]]
) -> tuple[dict[SagaId, SignalRow[Any]], list[Entry]]:
    """Note the refusals, bar, and at the initiator turn the saga.

    Gives the causes, the rows of sagas that heard it for the first time, and what is not undone yet of those
    that are reminded. The journal is locked first, then the sagas, all in one go: whoever locks in another
    order could meet us in a circle.
    """
    causes = context.by_saga(rows)
    first = sorted(context.journal.record_refusal(sorted(causes)))
    entries: list[Entry] = []
    if first:
        before = {(e.saga, e.step) for e in context.journal.read(first) if e.state != "retrying"}
        entries = context.journal.bar(first, context.keys)
        for saga in first:
            barred = [
                e.step
                for e in entries
                if e.saga == saga and e.state == "barred" and (saga, e.step) not in before
            ]
            if barred:
                context.outbox.notice(saga, causes[saga], "barred", steps=barred)
    if reminded := sorted(saga for saga, row in causes.items() if row.again and saga not in first):
        # what is still done was of a step that the release before this one did not declare
        entries += _undoing(context, reminded, "done")
    _flag_undeclared(context, entries, causes)
    if first and context.initiates:
        status = context.lock_sagas(causes)
        name = topic.removeprefix("refusal.")
        context.roll_back(
            {s: _cause_of(causes[s], name) for s in first if status.get(s) in ("PENDING", "CONFIRMED")}
        )
    return causes, entries


def _flag_undeclared(
    context: Context, entries: Sequence[Entry], causes: dict[SagaId, SignalRow[Any]]
) -> None:
    """What was done by a step that this release does not declare cannot be undone: its saga needs attention,
    and stays open.
    """
    for entry in entries:
        if context.is_undeclared(entry):
            reason = f"{entry.step} was done and is not declared any more: without it, it cannot be undone"
            context.outbox.attention(entry.saga, causes[entry.saga], reason)
            logger.error(LogEvent("done and not declared, needs attention", saga=entry.saga, step=entry.step))


def _cause_of(row: SignalRow[Any], name: str) -> RollbackCause:
    return RollbackCause(name, row.by, row.reason or name, orjson.dumps([row.version, row.data]).decode())


def _undo(
    context: Context, entries: Sequence[Entry], causes: dict[SagaId, SignalRow[Any]]
) -> dict[SagaId, list[str]]:
    """Run the undos of these rows, newest step first, each for all its sagas at once."""
    undone: dict[SagaId, list[str]] = {}
    for step in context.choreography.undo_order(list(context.participant.steps.values())):
        mine = {e.saga: e for e in entries if e.step == step.key}
        if not mine or step.undoing is None:
            continue
        sagas = sorted(mine)
        signals = _emitted_signals(context, step, step.undoing, [mine[saga] for saga in sagas])
        said: dict[SagaId, Any] = {}
        if signals:
            with log_context(step=step.key):
                said = step.undoing.signature.run(step.undoing.function, signals, context.tx.db)
        context.journal.set(step.key, "undone", sagas)
        for saga in sagas:
            undone.setdefault(saga, []).append(step.key)
            if (signal := said.get(saga)) is not None:
                context.outbox.emit(saga, signal, cause=causes[saga])
    for saga, steps in undone.items():
        context.outbox.notice(saga, causes[saga], "undone", steps=steps)
    return undone


def _emitted_signals(context: Context, step: Step, undo: Undo, entries: Sequence[Entry]) -> dict[SagaId, Any]:
    """What the step had said, which its undo is given; without sagas that it said nothing for.

    :raises LookupError: when the pack of a step that always says something does not hold it: the undo must
        not be left out.
    """
    readers = {topic_of(signal): Reader(signal) for signal in undo.signature.inputs}
    packs = {e.saga: [e.pack_id] for e in entries if e.pack_id is not None}
    found = {
        saga: readers[topic].signal_of(row)
        for saga, said in read_emitted(context.cursor, packs).items()
        for topic, row in said
        if topic in readers
    }
    if not step.signature.may_be_silent and (lost := [e for e in entries if e.saga not in found]):
        raise LookupError(
            f"what {step.key} said for saga {lost[0].saga} is not in pack {lost[0].pack_id}: it was deleted"
        )
    return found


def _pack(context: Context, undone: dict[SagaId, list[str]]) -> int | None:
    """A pack for what the undos said, if any ran."""
    return next_pack(context.cursor) if undone else None
