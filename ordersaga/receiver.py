"""An envelope reaches a participant: one transaction, whatever it holds.

If the transaction fails, the envelope is taken apart and its signals are handled one by one, so that only the bad one
takes the error path. While the database is away nothing is counted as a failure: the receiver waits.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import orjson

from ordersaga import closing, desk, rollback, watchdog
from ordersaga.choreography import Choreography
from ordersaga.context import Context, about_of
from ordersaga.database import LACKS_TABLES, Cursor, Transaction, answers, connection_lost, furnished, table_missing
from ordersaga.envelope import Head, Reader, Row, read_packs, read_rows
from ordersaga.errors import EnvelopeError, Stopping
from ordersaga.forward import fail, run
from ordersaga.logs import Line, bound, failure, told
from ordersaga.outbox import ANSWER, ATTENTION, LETTER, UNDO, WATCHDOG, Outbox
from ordersaga.participant import Event, Observer, Participant
from ordersaga.seldom import Seldom
from ordersaga.step import Step

logger = logging.getLogger(__name__)

T = TypeVar("T")
Rows = Sequence[Row[Any]]
Work = Callable[[Rows, Transaction], int | None]
"""Handles rows in a transaction; gives the attempt that this was, where attempts are counted."""
Patience = Callable[[float], bool]
"""Waits so many seconds; False when the process is to stop instead."""
Guard = Callable[[timedelta], AbstractContextManager[None]]
"""Ends what takes longer than a step's time limit allows, where the process can."""


ENGINE_LIMIT = timedelta(seconds=60)
"""The time limit of transactions that run no forward step."""


class Delivery(NamedTuple):
    """What the transport knows of an envelope: the task it runs as, and how often it was delivered before."""

    task: str | None = None
    redeliveries: int = 0


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return True


class Receiver:
    """Handles what reaches one participant's queue. One object serves all threads of a process."""

    SPLIT_AT = 2
    """An envelope delivered so often before is taken apart: one of its signals may be killing the workers."""
    LOST_CONNECTIONS = 5
    """So many lost connections in a row, while the database answers, count as a failure of the step."""

    def __init__(self, participant: Participant, choreography: Choreography, patience: Patience = _sleep) -> None:
        self.participant, self.choreography, self.patience = participant, choreography, patience
        self.guard: Guard = lambda _: nullcontext()
        self._seldom = Seldom()
        self._readers = {step.name: Reader(step.arrow.hears) for step in participant.steps.values()}

    def receive(self, topic: str, body: bytes, delivery: Delivery = Delivery()) -> None:
        """Handle one envelope: when this returns its effects are committed and it may be acknowledged.

        :raises EnvelopeError: when it is no envelope, or not for this participant.
        :raises Stopping: when the process is to stop while the database is away.
        """
        with bound(participant=self.participant.name, topic=topic, task=delivery.task):
            self._receive(topic, body, delivery)

    def _receive(self, topic: str, body: bytes, delivery: Delivery) -> None:
        if self.participant.observer is not None:
            self._observe(self.participant.observer, topic, body)
        elif self._split(topic, body, delivery):
            return
        elif topic.startswith("signal."):
            self._forward(topic, body, delivery)
        elif topic.startswith("refusal."):
            hear = lambda rows, tx: rollback.hear(self._context(tx, "refusal", delivery), topic, rows)  # noqa: E731
            park = lambda row, error, tx: rollback.park(self._context(tx, "refusal", delivery), topic, row, error)  # noqa: E731
            self._apply(read_rows(body), hear, park)
        elif topic == UNDO:
            again = lambda rows, tx: rollback.undo_again(self._context(tx, UNDO, delivery), rows)  # noqa: E731
            later = lambda row, error, tx: rollback.undo_later(self._context(tx, UNDO, delivery), row, error)  # noqa: E731
            self._apply(read_rows(body), again, later)
        elif topic in (ANSWER, ATTENTION, WATCHDOG, LETTER):
            handle = {
                ANSWER: closing.hear_answers,
                ATTENTION: closing.hear_attention,
                WATCHDOG: watchdog.watch,
                LETTER: desk.settle_letters,
            }[topic]
            self._apply(read_rows(body), lambda rows, tx: handle(self._context(tx, topic, delivery), rows), None)
        else:
            raise EnvelopeError(f"{self.participant.name} does not hear {topic}")

    # -- kinds of envelopes ------------------------------------------------------------------------------------------

    def _forward(self, topic: str, body: bytes, delivery: Delivery) -> None:
        step = self.participant.hearing(topic.removeprefix("signal."))
        if step is None:
            raise EnvelopeError(f"{self.participant.name} does not hear {topic}")
        good, bad = self._readers[step.name].read(body)

        def work(rows: Rows, tx: Transaction) -> int:
            return run(self._context(tx, step.name, delivery), step, rows)

        def failed(row: Row[Any], error: Exception, tx: Transaction) -> None:
            if not fail(self._context(tx, step.name, delivery), step, topic, row, error, trace_of(error)):
                run(self._context(tx, step.name, delivery), step, [row])

        with bound(step=step.key):
            self._apply(good, work, failed, step)
            for row, error in bad:
                self._patiently(lambda tx, row=row, error=error: failed(row, error, tx))  # type: ignore[misc]

    def _observe(self, observer: Observer, topic: str, body: bytes) -> None:
        events = [_event(topic, head, row) for head, rows in read_packs(body) for row in rows]
        began = time.perf_counter()
        try:
            self._patiently(lambda tx: observer(events, tx.db))
            logger.info(Line("done", signals=len(events), seconds=_since(began)))
        except Stopping:
            raise
        except Exception as error:  # noqa: BLE001 - what fails again alone is raised
            logger.warning(Line("failed together, now one by one", signals=len(events), **failure(error)))
            _each([lambda e=e: self._patiently(lambda tx: observer([e], tx.db)) for e in events])  # type: ignore[misc]

    def _split(self, topic: str, body: bytes, delivery: Delivery) -> bool:
        """Put the signals of an envelope that keeps coming back into the own queue, each alone."""
        if delivery.redeliveries < self.SPLIT_AT:
            return False
        packs = read_packs(body)
        if sum(len(rows) for _, rows in packs) < 2:
            return False

        def work(tx: Transaction) -> None:
            outbox = self._context(tx, "split", delivery).outbox
            for head, rows in packs:
                for row in rows:
                    outbox.retry(row, head, topic)
            outbox.flush(tx.cursor)

        self._patiently(work)
        signals = sum(len(rows) for _, rows in packs)
        logger.warning(Line("keeps coming back, taken apart", signals=signals, redeliveries=delivery.redeliveries))
        return True

    # -- one transaction ---------------------------------------------------------------------------------------------

    def _apply(
        self,
        rows: Rows,
        work: Work,
        failed: Callable[[Row[Any], Exception, Transaction], None] | None,
        step: Step | None = None,
        level: int = logging.INFO,
    ) -> None:
        """``work`` on all rows in one transaction; if that fails, on each in its own; if that fails too, ``failed``.

        A batch of hundreds is one line of the log, at ``level``.
        """
        if not rows:
            return
        began = time.perf_counter()
        rows = sorted(rows, key=lambda row: row.saga)
        limit = step.time_limit if step else ENGINE_LIMIT
        try:
            attempt = self._patiently(lambda tx: work(rows, tx), limit)
        except Stopping:
            raise
        except Exception as error:
            if len(rows) == 1 and failed is None:
                raise
            caught = error  # `error` is unbound when this block ends
        else:
            if logger.isEnabledFor(level):
                about = about_of(self.choreography, rows[0]) if len(rows) == 1 else {}
                logger.log(level, Line("done", **about, attempt=attempt, signals=len(rows), seconds=_since(began)))
            return
        if len(rows) > 1:
            logger.warning(Line("failed together, now one by one", signals=len(rows), **failure(caught)))
            _each([lambda row=row: self._apply([row], work, failed, step, logging.DEBUG) for row in rows])  # type: ignore[misc]
        elif failed is not None:
            self._patiently(lambda tx: failed(rows[0], caught, tx))

    def _patiently(self, work: Callable[[Transaction], T], limit: timedelta = ENGINE_LIMIT) -> T:
        """Run ``work`` in a transaction; while the database is away or has no tables yet, wait and do it again."""
        lost, wait = 0, 0.05
        while True:
            try:
                with self.guard(limit), self.participant.database.begin() as tx:
                    milliseconds = str(int(limit.total_seconds() * 1000))
                    tx.cursor.execute("SELECT set_config('statement_timeout', %s, true)", [milliseconds])
                    result = work(tx)
            except Exception as error:
                if connection_lost(error):
                    lost = lost + 1 if self._answers() else 0
                    self._tell(told(error))
                elif table_missing(error) and not self._answers(furnished):
                    self._tell(LACKS_TABLES)
                else:
                    raise
                if lost > self.LOST_CONNECTIONS:
                    raise
                if not self.patience(wait):
                    raise Stopping(f"{self.participant.name} stops while its database is away") from error
                wait = min(wait * 2, 2.0)
            else:
                return result

    def _answers(self, question: Callable[[Cursor], bool] = answers) -> bool:
        """Whether the database can be reached by a new connection, and says yes."""
        try:
            self.participant.database.discard()
            with self.participant.database.begin() as tx:
                return question(tx.cursor)
        except Exception as error:
            if connection_lost(error):
                return False
            raise

    def _tell(self, fault: str) -> None:
        if self._seldom.due(fault):
            logger.warning("%s waits for its database: %s", self.participant.name, fault)

    def _context(self, tx: Transaction, step: str, delivery: Delivery) -> Context:
        outbox = Outbox(Head(self.participant.name, step, delivery.task, 1), notices=self.choreography.observed)
        return Context(tx, self.participant, self.choreography, outbox)


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 4)


def _each(works: Sequence[Callable[[], None]]) -> None:
    """Do all, though one fails; then raise the first failure: the envelope dies, and only what failed in it is undone."""
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


def _event(topic: str, head: Head, row: Row[Any]) -> Event:
    data = orjson.dumps(row.data).decode()
    return Event(row.id, row.saga, row.cause, topic, *head, again=bool(row.again), at=row.at, reason=row.reason, data=data)


def trace_of(error: BaseException) -> str:
    """The traceback as text."""
    return "".join(traceback.format_exception(error))
