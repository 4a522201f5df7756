"""Receive an envelope for a participant: one transaction, however many signals it holds.

If the transaction fails, the envelope is split and its signals are handled one by one, so that only the one
at fault takes the error path. A fault of the database is nobody's failure: the receiver waits until it works
again. A signal that another transaction is in the way of is put back for a while, and so is every signal of a
step that is paused.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import orjson

from ordersaga import operations, paused_steps
from ordersaga.choreography import Choreography
from ordersaga.classification import ErrorKind, classify, is_of_the_signal
from ordersaga.database import Transaction
from ordersaga.envelope import PackHeader, Reader, SignalRow, read_packs, with_plain_data
from ordersaga.errors import EnvelopeError, NewerVersion, Stopping
from ordersaga.log import LogEvent, failure, log_context, safe_message
from ordersaga.outbox import ANSWER, ATTENTION, LETTER, RESUME, UNDO, WATCHDOG, Outbox
from ordersaga.participant import Event, Observer, Participant
from ordersaga.paused_steps import CircuitBreaker
from ordersaga.protocol import answers, rollback, watchdog
from ordersaga.protocol.context import Context, log_fields_of
from ordersaga.protocol.forward import Ran, fail, may_run, run
from ordersaga.step import Retry, Step
from ordersaga.transactions import ENGINE_LIMIT, Sleep, Transactions, sleep_uninterrupted

logger = logging.getLogger(__name__)

Rows = Sequence[SignalRow[Any]]
Work = Callable[[Rows, Transaction], Ran | None]
"""Handles rows in a transaction; gives for how many sagas a step ran, where one did."""
Failed = Callable[[SignalRow[Any], Exception], None]
"""Handles a row whose transaction failed for good, in a transaction of its own."""

ENGINE_RETRY = Retry()
"""How often the engine's own signals, such as answers, are tried before they become dead letters of the
broker.
"""
SHORTEST_DELAY, LONGEST_DELAY = timedelta(seconds=0.5), timedelta(seconds=15)
"""A signal that is put back without an attempt waits as long as it has waited already, within
these bounds.
"""


class Delivery(NamedTuple):
    """What the transport knows of an envelope: the task it runs as, and how often it was delivered before."""

    task: str | None = None
    redeliveries: int = 0


class _Job(NamedTuple):
    """What is being handled: signals of a topic, under the name that the journal and the audit know it by."""

    topic: str
    name: str
    delivery: Delivery
    step: Step | None = None


class Rule(NamedTuple):
    """What handles the rows of a topic, and what handles a failed one; a failure that it does not handle is
    tried again.
    """

    handle: Callable[[Context, Rows], None]
    failed: Callable[[Context, SignalRow[Any], Exception], bool] | None = None


ENGINE_RULES = {
    UNDO: Rule(rollback.retry_undos, rollback.reschedule_undos),
    ANSWER: Rule(answers.record_answers),
    ATTENTION: Rule(answers.record_attention),
    WATCHDOG: Rule(watchdog.watch),
    LETTER: Rule(operations.settle_letters),
    RESUME: Rule(operations.resume_steps),
}
"""The engine's own topics."""


class Receiver:
    """Handles what reaches one participant's queue. One object serves all threads of a process."""

    SPLIT_AT = 2
    """An envelope delivered so often before is split: one of its signals may be killing the workers."""

    def __init__(
        self, participant: Participant, choreography: Choreography, sleep: Sleep = sleep_uninterrupted
    ) -> None:
        self.participant, self.choreography = participant, choreography
        self.transactions = Transactions(participant, sleep)
        self.breakers = {step.key: CircuitBreaker() for step in participant.steps.values()}
        self._readers = {step.name: Reader(step.signature.consumes) for step in participant.steps.values()}
        undone = (step.max_signals for step in participant.steps.values() if step.undoing)
        self._undone_at_once = min((most for most in undone if most is not None), default=None)

    def receive(self, topic: str, body: bytes, delivery: Delivery = Delivery()) -> None:
        """Handle one envelope: when this returns its effects are committed and it may be acknowledged.

        :raises EnvelopeError: when it is no envelope, or not for this participant.
        :raises Stopping: when the process is to stop while the database does not work.
        """
        with log_context(participant=self.participant.name, topic=topic, task=delivery.task):
            if self.participant.observer is not None:
                self._observe(self.participant.observer, topic, body)
            elif self._split(topic, body, delivery):
                return
            elif topic.startswith("signal."):
                self._forward(topic, body, delivery)
            else:
                self._engine(topic, body, delivery)

    # -- kinds of envelopes
    # ------------------------------------------------------------------------------------------

    def _engine(self, topic: str, body: bytes, delivery: Delivery) -> None:
        """A refusal, or a signal of the engine's own."""
        rule = self._rule(topic)
        job = _Job(topic, topic.partition(".")[0], delivery)
        packs = read_packs(body)
        attempts = {row.id: header.attempt for header, rows in packs for row in rows}

        def failed(row: SignalRow[Any], error: Exception) -> None:
            if not self._undo_failed(job, rule, row, error):
                self._retry(job, row, attempts[row.id], error)

        work = lambda rows, tx: rule.handle(self._context(tx, job), rows)  # noqa: E731
        _each(
            self._in_parts(
                job, [row for _, rows in packs for row in rows], self._undone_at_once, work, failed
            )
        )

    def _undo_failed(self, job: _Job, rule: Rule, row: SignalRow[Any], error: Exception) -> bool:
        """Whether the failure was that of an undo, which is then tried again by itself."""
        if (handle := rule.failed) is None:
            return False
        try:
            return self.transactions.run(lambda tx: handle(self._context(tx, job), row, error))
        except Exception as again:
            if classify(again) is not ErrorKind.SIGNAL or isinstance(again, Stopping):
                raise
            logger.log(
                logging.ERROR, LogEvent("the failure could not be noted", **failure(again, whole=True))
            )
            return False

    def _rule(self, topic: str) -> Rule:
        if topic.startswith("refusal."):
            return Rule(
                lambda context, rows: rollback.receive_refusals(context, topic, rows),
                lambda context, row, error: rollback.defer_undos(context, topic, row, error),
            )
        if topic not in ENGINE_RULES:
            raise EnvelopeError(f"{self.participant.name} does not hear {topic}")
        return ENGINE_RULES[topic]

    def _forward(self, topic: str, body: bytes, delivery: Delivery) -> None:
        step = self.participant.step_for(topic.removeprefix("signal."))
        if step is None:
            raise EnvelopeError(f"{self.participant.name} does not hear {topic}")
        job, breaker = _Job(topic, step.name, delivery, step), self.breakers[step.key]
        rows = [row for _, rows in read_packs(body) for row in rows]
        with log_context(step=step.key):
            if breaker.paused:
                admitted = self.transactions.run(
                    lambda tx: paused_steps.admit(self._context(tx, job), step, topic, rows),
                    wait_for_locks=True,
                )
                if admitted.probe:
                    self._probe(job, step, admitted.rows[0])
                if admitted.probe or not admitted.rows:
                    return
                self._resumed(step)
            self._run(job, step, rows)

    def _run(self, job: _Job, step: Step, rows: Rows) -> None:
        good, bad = self._readers[step.name].sort(rows)
        failed: Failed = lambda row, error: self._failed(job, step, row, error)  # noqa: E731
        work: Work = lambda some, tx: run(self._context(tx, job), step, some)  # noqa: E731
        _each(self._in_parts(job, good, step.max_signals, work, failed))
        _each(partial(self._handle_failure, job, row, error, failed) for row, error in bad)

    def _observe(self, observer: Observer, topic: str, body: bytes) -> None:
        events = [_event(topic, header, row) for header, rows in read_packs(body) for row in rows]
        began = time.perf_counter()
        try:
            self.transactions.run(lambda tx: observer(events, tx.db), wait_for_locks=True)
            logger.info(LogEvent("done", signals=len(events), seconds=_since(began)))
        except Stopping:
            raise
        except Exception as error:  # noqa: BLE001 - what fails again alone is raised
            logger.warning(LogEvent("failed together, now one by one", signals=len(events), **failure(error)))
            _each(partial(self._observe_one, observer, event) for event in events)

    def _observe_one(self, observer: Observer, event: Event) -> None:
        self.transactions.run(lambda tx: observer([event], tx.db), wait_for_locks=True)

    def _split(self, topic: str, body: bytes, delivery: Delivery) -> bool:
        """Put the signals of an envelope that keeps coming back into the own queue, each alone."""
        if delivery.redeliveries < self.SPLIT_AT:
            return False
        packs = read_packs(body)
        signals = sum(len(rows) for _, rows in packs)
        if signals < 2:
            return False

        def work(tx: Transaction) -> None:
            outbox = self._context(tx, _Job(topic, "split", delivery)).outbox
            for header, rows in packs:
                for row in rows:
                    outbox.retry(row, header, topic)
            outbox.flush(tx.cursor)

        self.transactions.run(work, wait_for_locks=True)
        logger.warning(
            LogEvent("keeps coming back, taken apart", signals=signals, redeliveries=delivery.redeliveries)
        )
        return True

    # -- one transaction
    # ---------------------------------------------------------------------------------------------

    def _apply(self, job: _Job, rows: Rows, work: Work, failed: Failed, level: int = logging.INFO) -> None:
        """``work`` on all rows in one transaction; if that fails, on each in its own; if that fails too,
        ``failed``.

        A batch of hundreds is one line of the log, at ``level``.
        """
        if not rows:
            return
        began = time.perf_counter()
        rows = sorted(rows, key=lambda row: row.saga)
        limit = job.step.time_limit if job.step else ENGINE_LIMIT
        try:
            ran = self.transactions.run(lambda tx: work(rows, tx), limit, signals=len(rows))
        except Stopping:
            raise
        except Exception as error:  # noqa: BLE001 - handled below, outside this block
            caught = error
        else:
            self._done(job, rows, ran, began, level)
            return
        if len(rows) == 1:
            self._handle_failure(job, rows[0], caught, failed)
        else:
            logger.warning(LogEvent("failed together, now one by one", signals=len(rows), **failure(caught)))
            _each(self._in_parts(job, rows, 1, work, failed, logging.DEBUG))

    def _done(self, job: _Job, rows: Rows, ran: Ran | None, began: float, level: int) -> None:
        if job.step is not None and ran is not None and ran.sagas:
            self.breakers[job.step.key].succeeded()
        if logger.isEnabledFor(level):
            about = log_fields_of(self.choreography, rows[0]) if len(rows) == 1 else {}
            attempt = ran.attempt if ran else None
            logger.log(
                level, LogEvent("done", **about, attempt=attempt, signals=len(rows), seconds=_since(began))
            )

    def _in_parts(
        self, job: _Job, rows: Rows, most: int | None, work: Work, failed: Failed, level: int = logging.INFO
    ) -> Iterator[Callable[[], None]]:
        """The work for at most so many rows at once, None: all; once one part has paused the step, the rest
        is put away.
        """
        size = most or max(len(rows), 1)
        for at in range(0, len(rows), size):
            if job.step is not None and self.breakers[job.step.key].paused:
                yield partial(self._put_away, job, rows[at:])
                return
            yield partial(self._apply, job, rows[at : at + size], work, failed, level)

    def _handle_failure(self, job: _Job, row: SignalRow[Any], error: Exception, failed: Failed) -> None:
        """A row's transaction failed for good, or another transaction was in its way; ``failed`` may meet the
        same.
        """
        if not _is_contention(error):
            try:
                failed(row, error)
            except Exception as again:
                if classify(again) is ErrorKind.SIGNAL:
                    raise
                error = again
            else:
                return
        self._postpone(job, row, error)

    def _failed(self, job: _Job, step: Step, row: SignalRow[Any], error: Exception) -> None:
        """Count an attempt of a step; or pause the step, or wait for a release that can read the signal."""
        if isinstance(error, NewerVersion):
            self._await_release(job, step, row, error)
        elif not is_of_the_signal(error) or self.breakers[step.key].failed(row.saga):
            self._pause(job, step, row, error)
        else:
            trace = trace_of(error)

            def count(tx: Transaction) -> None:
                if paused_steps.put_away_if_paused(
                    self._context(tx, job), step, job.topic, with_plain_data(row)
                ):
                    return
                if not fail(self._context(tx, job), step, job.topic, row, error, trace):
                    run(self._context(tx, job), step, [row])

            self.transactions.run(count)

    # -- what is put back, without an attempt
    # ------------------------------------------------------------------------

    def _postpone(self, job: _Job, row: SignalRow[Any], error: Exception) -> None:
        """Put a row back into the own queue; the longer it has waited already, the longer it waits."""
        wait = min(max(_age(row), SHORTEST_DELAY), LONGEST_DELAY)
        # in an insert nobody is in the way, unless the whole table is locked
        self.transactions.run(
            lambda tx: self._put_back(self._context(tx, job), job, row, wait), wait_for_locks=True
        )
        about = log_fields_of(self.choreography, row)
        line = LogEvent(
            "put back, tried again later",
            code="signal_postponed",
            **about,
            wait=_seconds(wait),
            **failure(error),
        )
        logger.warning(line)

    def _put_back(
        self, context: Context, job: _Job, row: SignalRow[Any], wait: timedelta, attempt: int = 1
    ) -> None:
        header = context.outbox.header._replace(participant=row.by, attempt=attempt)
        one_of_a_saga = job.topic.startswith("signal.") or job.topic in (WATCHDOG, UNDO)
        retry = context.outbox.retry_later if one_of_a_saga else context.outbox.retry
        retry(with_plain_data(row), header, job.topic, wait)
        context.outbox.flush(context.cursor)

    def _await_release(self, job: _Job, step: Step, row: SignalRow[Any], error: NewerVersion) -> None:
        """Keep a signal of a newer version until this pool is deployed, too, or its saga has turned."""

        def is_late(tx: Transaction) -> bool:
            late = not may_run(self._context(tx, job), step, row.saga)
            if late:
                run(self._context(tx, job), step, [row])
            return late

        if not self.transactions.run(is_late):
            self._postpone(job, row, error)

    def _retry(self, job: _Job, row: SignalRow[Any], attempt: int, error: Exception) -> None:
        """An engine's signal failed: try it again with backoff.

        :raises Exception: ``error``, after the last attempt; the envelope holds this signal alone and becomes
            a dead letter.
        """
        if attempt >= ENGINE_RETRY.attempts:
            raise error
        wait = ENGINE_RETRY.wait(attempt)
        self.transactions.run(
            lambda tx: self._put_back(self._context(tx, job), job, row, wait, attempt + 1),
            wait_for_locks=True,
        )
        about = log_fields_of(self.choreography, row)
        logger.warning(
            LogEvent(
                "failed, tried again later", **about, attempt=attempt, wait=_seconds(wait), **failure(error)
            )
        )

    # -- paused steps
    # ------------------------------------------------------------------------------------------------

    def _pause(self, job: _Job, step: Step, row: SignalRow[Any], error: Exception) -> None:
        """Pause a step in this process; this row is the next probe."""
        self.breakers[step.key].pause()
        it = with_plain_data(row)
        first = self.transactions.run(
            lambda tx: paused_steps.pause(self._context(tx, job), step, job.topic, it, error),
            wait_for_locks=True,
        )
        self.transactions.report(
            step.key, f"is paused, because it fails for every saga: {safe_message(error)}"
        )
        if first:
            logger.error(
                LogEvent(
                    "paused, because it fails for every saga",
                    code="step_paused",
                    **failure(error, whole=True),
                )
            )

    def _put_away(self, job: _Job, rows: Rows) -> None:
        """Rows of an envelope whose step was paused meanwhile."""
        later = [with_plain_data(row) for row in rows]

        def work(tx: Transaction) -> None:
            context = self._context(tx, job)
            paused_steps.put_away(context, job.topic, later)
            context.outbox.flush(tx.cursor)

        self.transactions.run(work, wait_for_locks=True)

    def _probe(self, job: _Job, step: Step, row: SignalRow[Any]) -> None:
        """Try a paused step with one saga; if it works, the step is resumed in the same transaction."""

        def work(tx: Transaction) -> int:
            signal = self._readers[step.name].signal_of(row)
            ran = run(self._context(tx, job), step, [row._replace(data=signal)])
            if ran.sagas:
                paused_steps.resume(self._context(tx, job), step, job.topic)
            return ran.sagas

        try:
            ran = self.transactions.run(work, step.time_limit)
        except Stopping:
            raise
        except Exception as error:  # noqa: BLE001 - the step stays paused
            self.transactions.run(
                lambda tx: paused_steps.probe_failed(self._context(tx, job), step, job.topic, row),
                wait_for_locks=True,
            )
            self.transactions.report(
                step.key, f"is paused, because it fails for every saga: {safe_message(error)}"
            )
            logger.info(LogEvent("still paused", code="step_probe_failed", **failure(error)))
        else:
            if ran:
                self._resumed(step)

    def _resumed(self, step: Step) -> None:
        self.breakers[step.key].resume()
        self.transactions.report(step.key, "")
        logger.warning(LogEvent("resumed", code="step_resumed", step=step.key))

    def _context(self, tx: Transaction, job: _Job) -> Context:
        header = PackHeader(self.participant.name, job.name, job.delivery.task, 1)
        return Context(
            tx, self.participant, self.choreography, Outbox(header, notices=self.choreography.observed)
        )


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 4)


def _seconds(wait: timedelta) -> float:
    return round(wait.total_seconds(), 3)


def _age(row: SignalRow[Any]) -> timedelta:
    """How long ago a signal was emitted, by this machine's clock."""
    try:
        return datetime.now(UTC) - datetime.fromisoformat(row.at)
    except (TypeError, ValueError):
        return timedelta(0)


def _is_contention(error: Exception) -> bool:
    return classify(error) is ErrorKind.CONTENTION and not is_of_the_signal(error)


def _each(works: Iterable[Callable[[], object]]) -> None:
    """Do all, though one fails; then raise the first failure: the envelope dies, and only what failed in it
    is undone.
    """
    failure: Exception | None = None
    for work in works:
        try:
            work()
        except Stopping:
            raise
        except Exception as error:  # noqa: BLE001 - raised below
            failure = failure or error
    if failure is not None:
        raise failure


def _event(topic: str, header: PackHeader, row: SignalRow[Any]) -> Event:
    data = orjson.dumps(row.data).decode()
    return Event(
        row.id,
        row.saga,
        row.cause,
        topic,
        *header,
        again=bool(row.again),
        at=row.at,
        reason=row.reason,
        data=data,
    )


def trace_of(error: BaseException) -> str:
    """The traceback as text."""
    return "".join(traceback.format_exception(error))
