"""Receive an envelope for a participant: one transaction, however many signals the envelope contains.

If the transaction fails, :mod:`ordersaga.fault_isolation` handles the signals one by one, so that only the
faulty one takes the error path. A fault of the database is not a failure of a signal:
:mod:`ordersaga.transactions` waits until the database works. Signals that wait for another transaction's
lock, and signals of a paused step, go back into the queue.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import orjson

from ordersaga import operations, paused_steps
from ordersaga.choreography import Choreography
from ordersaga.circuit_breaker import CircuitBreaker
from ordersaga.classification import ErrorKind, classify, is_of_the_signal
from ordersaga.envelope import PackHeader, Reader, SignalRow, read_packs, with_plain_data
from ordersaga.errors import EnvelopeError, NewerVersion, WaitAborted
from ordersaga.fault_isolation import Rows, handle_failure, handle_rows, log_batch_failed, run_all, since
from ordersaga.job import Delivery, Job, StepJob
from ordersaga.log import LogEvent, failure, log_context
from ordersaga.outbox import ANSWER, ATTENTION, RESUME_STEP, SETTLE_DEAD_LETTER, UNDO, WATCHDOG
from ordersaga.participant import Event, Observer, Participant
from ordersaga.protocol import answers, forward, rollback, watchdog
from ordersaga.protocol.context import Context
from ordersaga.retries import await_release, retry_engine_signal
from ordersaga.step import Step
from ordersaga.transactions import Sleep, Transactions, sleep_uninterrupted

__all__ = ["HANDLERS", "REFUSALS", "Delivery", "Handler", "Receiver"]

logger = logging.getLogger(__name__)


class Handler(NamedTuple):
    """How the rows of an engine topic are handled.

    :ivar handle: handles rows of different sagas in one transaction.
    :ivar on_failure: handles a row whose transaction failed; False if the row itself must be retried.
    """

    handle: Callable[[Context, Rows], None]
    on_failure: Callable[[Context, SignalRow[Any], Exception], bool] | None = None


REFUSALS = "refusal."
"""The beginning of the topics of all refusals."""

HANDLERS = {
    REFUSALS: Handler(rollback.receive_refusals, rollback.defer_undos),
    UNDO: Handler(rollback.retry_undos, rollback.reschedule_undos),
    ANSWER: Handler(answers.record_answers),
    ATTENTION: Handler(answers.record_attention),
    WATCHDOG: Handler(watchdog.watch),
    SETTLE_DEAD_LETTER: Handler(operations.settle_dead_letters),
    RESUME_STEP: Handler(operations.resume_steps),
}
"""All topics but ``signal.*``, which the participant's steps handle."""


class Receiver:
    """Handles the envelopes in one participant's queue. One object serves all threads of a process."""

    SPLIT_AT = 2
    """An envelope with this many redeliveries is split: one of its signals may be killing the workers."""

    def __init__(
        self, participant: Participant, choreography: Choreography, sleep: Sleep = sleep_uninterrupted
    ) -> None:
        steps = participant.steps.values()
        self.participant, self.choreography = participant, choreography
        self.transactions = Transactions(participant, sleep)
        self.breakers = {step.key: CircuitBreaker() for step in steps}
        self._readers = {step.key: Reader(step.signature.consumes) for step in steps}
        limits = (step.max_signals for step in steps if step.declared_undo)
        self._max_undos = min((limit for limit in limits if limit is not None), default=None)

    def receive(self, topic: str, body: bytes, delivery: Delivery = Delivery()) -> None:
        """Handle one envelope. When this returns, its effects are committed and it may be acknowledged.

        :raises EnvelopeError: when the body is not an envelope, or not for this participant.
        :raises WaitAborted: when the wait for the database was given up.
        """
        with log_context(participant=self.participant.name, topic=topic, task=delivery.task):
            if self.participant.observer is not None:
                self._observe(self.participant.observer, topic, body)
            elif self._split_if_redelivered(topic, body, delivery):
                return
            elif topic.startswith("signal."):
                self._handle_step_signals(topic, body, delivery)
            else:
                self._handle_engine_signals(topic, body, delivery)

    def _handle_engine_signals(self, topic: str, body: bytes, delivery: Delivery) -> None:
        handler = HANDLERS.get(REFUSALS if topic.startswith(REFUSALS) else topic)
        if handler is None:
            raise EnvelopeError(f"{self.participant.name} does not consume {topic}")
        job = self._job(topic, topic.partition(".")[0], delivery)
        packs = read_packs(body)
        attempts = {row.id: header.attempt for header, rows in packs for row in rows}

        def on_failure(row: SignalRow[Any], error: Exception) -> None:
            if not _record_failure(job, handler, row, error):
                retry_engine_signal(job, row, attempts[row.id], error)

        rows = [row for _, rows in packs for row in rows]
        handle_rows(job, rows, handler.handle, on_failure, at_most=self._max_undos)

    def _handle_step_signals(self, topic: str, body: bytes, delivery: Delivery) -> None:
        step = self.participant.step_for(topic.removeprefix("signal."))
        if step is None:
            raise EnvelopeError(f"{self.participant.name} does not consume {topic}")
        job = StepJob(
            self.transactions, self.choreography, step, self.breakers[step.key], topic, delivery.task
        )
        rows = [row for _, rows in read_packs(body) for row in rows]
        with log_context(step=step.key):
            if job.breaker.paused and not self._try_resume(job, rows):
                return
            good, bad = self._readers[step.key].validate(rows)
            on_failure = partial(_handle_step_failure, job)
            handle_rows(
                job,
                good,
                lambda c, some: forward.run_step(c, step, some),
                on_failure,
                at_most=step.max_signals,
            )
            run_all(partial(handle_failure, job, row, error, on_failure) for row, error in bad)

    def _try_resume(self, job: StepJob, rows: Rows) -> bool:
        """Resume a step in this process if the database no longer pauses it.

        :returns: whether the caller must handle ``rows``; if not, they are deferred or tested here.
        """
        admitted = job.run(lambda context: paused_steps.admit(context, job.step, rows), wait_for_locks=True)
        if admitted.probe:
            paused_steps.probe(job, self._readers[job.step.key], admitted.rows[0])
        if admitted.probe or not admitted.rows:
            return False
        paused_steps.resume_in_process(job)
        return True

    def _observe(self, observer: Observer, topic: str, body: bytes) -> None:
        events = [_event(topic, header, row) for header, rows in read_packs(body) for row in rows]
        began = time.perf_counter()
        try:
            self.transactions.run(lambda tx: observer(events, tx.db), wait_for_locks=True)
        except WaitAborted:
            raise
        except Exception as error:  # noqa: BLE001 - an error that recurs with a single event is raised
            log_batch_failed(len(events), error)
            run_all(partial(self._observe_one, observer, event) for event in events)
        else:
            fields = {"signals": len(events), "seconds": since(began)}
            logger.info(LogEvent("signals_handled", "The signals are handled.", **fields))

    def _observe_one(self, observer: Observer, event: Event) -> None:
        self.transactions.run(lambda tx: observer([event], tx.db), wait_for_locks=True)

    def _split_if_redelivered(self, topic: str, body: bytes, delivery: Delivery) -> bool:
        """Put each signal of a repeatedly redelivered envelope into the queue alone; False for others."""
        if delivery.redeliveries < self.SPLIT_AT:
            return False
        packs = read_packs(body)
        signals = sum(len(rows) for _, rows in packs)
        if signals < 2:
            return False

        def put_each(context: Context) -> None:
            for header, rows in packs:
                for row in rows:
                    context.outbox.retry(row, header, topic)
            context.outbox.flush(context.cursor)

        self._job(topic, "split", delivery).run(put_each, wait_for_locks=True)
        sentence = "The envelope was redelivered repeatedly; each of its signals is queued alone."
        fields = {"signals": signals, "redeliveries": delivery.redeliveries}
        logger.warning(LogEvent("envelope_split", sentence, **fields))
        return True

    def _job(self, topic: str, name: str, delivery: Delivery) -> Job:
        return Job(self.transactions, self.choreography, topic, name, delivery.task)


def _record_failure(job: Job, handler: Handler, row: SignalRow[Any], error: Exception) -> bool:
    """Let the handler record the failure, such as of an undo; return False if the row must be retried."""
    if (on_failure := handler.on_failure) is None:
        return False
    try:
        return job.run(lambda context: on_failure(context, row, error))
    except Exception as further:
        if classify(further) is not ErrorKind.SIGNAL or isinstance(further, WaitAborted):
            raise
        sentence = "The failure could not be recorded; the signal is retried."
        logger.log(logging.ERROR, LogEvent("failure_not_recorded", sentence, **failure(further, whole=True)))
        return False


def _handle_step_failure(job: StepJob, row: SignalRow[Any], error: Exception) -> None:
    """Count an attempt of a step; or pause the step, or wait for a release that can read the signal."""
    if isinstance(error, NewerVersion):
        await_release(job, row, error)
    elif not is_of_the_signal(error) or job.breaker.record_failure(row.saga):
        paused_steps.pause_in_process(job, row, error)
    else:
        trace = "".join(traceback.format_exception(error))
        job.run(lambda context: _count_attempt(context, job.step, row, error, trace))


def _count_attempt(context: Context, step: Step, row: SignalRow[Any], error: Exception, trace: str) -> None:
    if paused_steps.defer_if_paused(context, step, with_plain_data(row)):
        return
    if not forward.record_failure(context, step, row, error, trace):
        forward.run_step(context, step, [row])


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
