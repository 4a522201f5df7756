"""Run transactions of one participant, and repeat them while its database does not work.

Faults of the database, the connection or another transaction do not reach the step's error path: the work
waits here and is repeated. Only errors of the signal are raised, and those that the caller must decide about.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TypeVar

from ordersaga.classification import (
    DEADLOCK,
    INSUFFICIENT_PRIVILEGE,
    LOCK_NOT_AVAILABLE,
    QUERY_CANCELED,
    SERIALIZATION_FAILURE,
    ErrorKind,
    classify,
    state_of,
)
from ordersaga.database import TABLES_MISSING, Cursor, Transaction, has_tables, is_answering, is_writable
from ordersaga.errors import WaitAborted
from ordersaga.log import LogEvent, safe_message
from ordersaga.log_throttle import LogThrottle
from ordersaga.participant import Participant

logger = logging.getLogger(__name__)

T = TypeVar("T")
Sleep = Callable[[float], bool]
"""Waits the given seconds; returns False if the caller must give up the work: the process stops, or the
envelope was published again.
"""
Guard = Callable[[timedelta], AbstractContextManager[None]]
"""Enforces a time limit from outside the transaction, if the process can."""
Report = Callable[[str, str], None]
"""Reports the problem of a part of the process to the health check: part, sentence (empty: no problem)."""

ENGINE_LIMIT = timedelta(seconds=60)
"""The time limit of transactions without a forward step."""
DATABASE = "database"
"""The part that is reported while the database does not work."""

# Set for this transaction only, so that a pooled connection is returned unchanged.
LIMITS = """
SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true),
    set_config('idle_in_transaction_session_timeout', %s, true)
"""


def sleep_uninterrupted(seconds: float) -> bool:
    """Wait without a way to stop."""
    time.sleep(seconds)
    return True


class Transactions:
    """Runs work in transactions of one participant's database. One object serves all threads of a process."""

    FIRST_WAIT, MAX_WAIT = 0.05, 2.0
    """Seconds between two attempts while the database does not work: the first and the longest wait."""
    LOST_CONNECTIONS = 5
    """Lost connections in a row, while the database accepts new ones, that count as an error of the signal,
    which crashes the server's process.
    """
    CONFLICTS = 5
    """Repetitions after a deadlock or a serialization failure before the error is raised."""
    LOCK_TIMEOUT = timedelta(seconds=2)
    """How long a statement waits for another transaction's lock."""
    BUSY_LOCK_TIMEOUT, LONGEST_BUSY_LOCK_TIMEOUT = timedelta(milliseconds=10), timedelta(milliseconds=250)
    """The same during :attr:`BUSY_FOR` after a timeout: for each signal of the transaction, and in all.

    Signals that need the lock then hardly delay others. The limit grows with the number of signals, because
    postponing more signals costs more.
    """
    BUSY_FOR = 10.0
    """Seconds. Then one statement waits for the full time again, so that processes which only waited for each
    other's short transactions recover.
    """

    def __init__(self, participant: Participant, sleep: Sleep = sleep_uninterrupted) -> None:
        self.participant, self.sleep = participant, sleep
        self.guard: Guard = lambda _: nullcontext()
        self.report: Report = lambda _part, _sentence: None
        self._throttle = LogThrottle()
        self._busy_until = 0.0
        self._faulty = False

    def run(
        self,
        work: Callable[[Transaction], T],
        limit: timedelta = ENGINE_LIMIT,
        *,
        wait_for_locks: bool = False,
        signals: int = 1,
    ) -> T:
        """Run ``work`` in a transaction, repeat it while the database does not work, and return its result.

        :param limit: ``statement_timeout`` of the transaction.
        :param signals: the number of signals that it handles.
        :param wait_for_locks: repeat without limit if other transactions hold locks.
        :raises Exception: of kind SIGNAL; of kind CONTENTION, when other transactions hold locks for too
            long; of kind SERVER, when the database works and refuses only this work. See
            :func:`ordersaga.classification.is_of_the_signal`.
        :raises WaitAborted: when ``sleep`` returns False during a wait.
        """
        lost = conflicts = 0
        wait = self.FIRST_WAIT
        while True:
            began = time.monotonic()
            try:
                with self.guard(limit), self.participant.database.begin() as tx:
                    tx.cursor.execute(LIMITS, self._limits(limit, signals))
                    result = work(tx)
            except Exception as error:
                kind = classify(error)
                if kind is ErrorKind.CONNECTION:
                    lost = lost + 1 if self._check(is_answering) else 0
                    give_up = lost > self.LOST_CONNECTIONS
                elif kind is ErrorKind.CONTENTION:
                    conflicts += 1
                    give_up = not wait_for_locks and self._gives_up_waiting(
                        error, time.monotonic() - began, limit, conflicts
                    )
                else:
                    give_up = self._is_of_this_work(kind, error)
                if give_up:
                    raise
                self._report_fault(kind, error)
                if not self.sleep(wait * random.uniform(0.5, 1.0)):
                    raise WaitAborted(f"{self.participant.name} no longer waits for its database") from error
                wait = min(wait * 2, self.MAX_WAIT)
            else:
                if self._faulty:
                    self._recovered()
                return result

    def _limits(self, limit: timedelta, signals: int) -> list[str]:
        lock = min(self.LOCK_TIMEOUT, limit / 2)
        if time.monotonic() < self._busy_until:
            lock = min(lock, self.BUSY_LOCK_TIMEOUT * signals, self.LONGEST_BUSY_LOCK_TIMEOUT)
        # releases the locks of a process that was stopped or lost its network; a healthy process never takes
        # as long between two statements
        idle = max(limit, min(limit * 2, timedelta(seconds=60)))
        return [str(int(each / timedelta(milliseconds=1))) for each in (limit, lock, idle)]

    def _gives_up_waiting(self, error: Exception, seconds: float, limit: timedelta, conflicts: int) -> bool:
        """Whether to raise an error of contention."""
        state = state_of(error)
        if state in (SERIALIZATION_FAILURE, DEADLOCK):
            return conflicts > self.CONFLICTS
        if state == QUERY_CANCELED and seconds < limit.total_seconds():  # not by statement_timeout
            return False
        if state == LOCK_NOT_AVAILABLE and time.monotonic() >= self._busy_until:
            self._busy_until = time.monotonic() + self.BUSY_FOR
        return True

    def _is_of_this_work(self, kind: ErrorKind, error: Exception) -> bool:
        """Whether the database works and only refuses this work."""
        if kind is ErrorKind.MISSING_TABLE:
            return self._check(has_tables)
        if kind is ErrorKind.SERVER:
            return state_of(error) == INSUFFICIENT_PRIVILEGE and self._check(is_writable)
        return True

    def _check(self, condition: Callable[[Cursor], bool]) -> bool:
        """Check a condition on a new connection; False if the database cannot be reached.

        Old connections are closed, because they may lead to a server that is no longer the primary.
        """
        try:
            self.participant.database.discard()
            with self.participant.database.begin() as tx:
                return condition(tx.cursor)
        except Exception as error:
            if classify(error) is not ErrorKind.SIGNAL:
                return False
            raise

    def _report_fault(self, kind: ErrorKind, error: Exception) -> None:
        if kind is ErrorKind.CONTENTION:
            if self._throttle.due(safe_message(error)):
                sentence = "A transaction waits for locks of another transaction."
                logger.warning(LogEvent("database_contention", sentence, error=safe_message(error)))
            return
        if kind is ErrorKind.SERVER:
            self.participant.database.discard()
        fault = TABLES_MISSING if kind is ErrorKind.MISSING_TABLE else safe_message(error)
        self._faulty = True
        self.report(DATABASE, f"waits for its database: {fault}")
        if self._throttle.due(fault):
            sentence = f"{self.participant.name} waits for its database: {fault}"
            logger.warning(LogEvent("database_fault", sentence, kind=kind.value))

    def _recovered(self) -> None:
        self._faulty = False
        self.report(DATABASE, "")
        logger.info(LogEvent("database_recovered", "The database works again."))
