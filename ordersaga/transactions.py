"""Transactions of one participant, repeated until its database can carry them out.

A fault of the database, of the connection or of another transaction never reaches the step's error path: the
work waits here and is done again. Only errors of the signal itself, and what the caller must decide, are
raised.
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
    INSUFFICIENT_PRIVILEGE,
    LOCK_NOT_AVAILABLE,
    QUERY_CANCELED,
    ErrorKind,
    classify,
    state_of,
)
from ordersaga.database import TABLES_MISSING, Cursor, Transaction, has_tables, is_answering, is_writable
from ordersaga.errors import Stopping
from ordersaga.log import LogEvent, safe_message
from ordersaga.log_throttle import LogThrottle
from ordersaga.participant import Participant

logger = logging.getLogger(__name__)

T = TypeVar("T")
Sleep = Callable[[float], bool]
"""Waits so many seconds; False when the process is to stop instead."""
Guard = Callable[[timedelta], AbstractContextManager[None]]
"""Ends what takes longer than a step's time limit allows, where the process can."""
Report = Callable[[str, str], None]
"""Tells the health check what is in the way of a part of the process (part, sentence); an empty sentence:
nothing any more.
"""

ENGINE_LIMIT = timedelta(seconds=60)
"""The time limit of transactions that run no forward step."""
DATABASE = "database"
"""The part that is reported when the database is in the way."""

# All hold for this transaction only, so that a pooled connection goes back as it came.
LIMITS = """
SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true),
    set_config('idle_in_transaction_session_timeout', %s, true)
"""


def sleep_uninterrupted(seconds: float) -> bool:
    """Wait, where nothing asks the process to stop."""
    time.sleep(seconds)
    return True


class Transactions:
    """Runs work in transactions of one participant's database. One object serves all threads of a process."""

    FIRST_WAIT, MAX_WAIT = 0.05, 2.0
    """Seconds between two tries while the database does not work."""
    LOST_CONNECTIONS = 5
    """Lost connections in a row, while the database accepts new ones, that count as an error of the signal:
    it ends the server's process.
    """
    CONFLICTS = 5
    """How often a deadlock or a serialization failure is repeated before the caller must decide."""
    LOCK_TIMEOUT = timedelta(seconds=2)
    """How long a statement waits for another transaction's lock."""
    BUSY_LOCK_TIMEOUT, LONGEST_BUSY_LOCK_TIMEOUT = timedelta(milliseconds=10), timedelta(milliseconds=250)
    """The same for each signal of the transaction, and at most, for a while after a statement has waited in
    vain: what needs that lock must not keep the process from what does not. A transaction of many signals
    waits longer, because putting them back costs more.
    """
    BUSY_FOR = 10.0
    """That while, in seconds. Then one statement waits long again: processes that wait in vain only for each
    other's short transactions must not stay so.
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
        """Run ``work`` in a transaction, again and again while the fault is the database's; gives what it
        gives.

        :param limit: ``statement_timeout`` of the transaction.
        :param signals: how many it handles.
        :param wait_for_locks: wait for other transactions for ever, too.
        :raises Exception: of kind SIGNAL; of kind CONTENTION, when others hold locks for too long; of kind
            SERVER, when the database works for the engine and refuses only this. See
            :func:`ordersaga.classification.is_of_the_signal`.
        :raises Stopping: when the process is to stop while it waits.
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
                    lost = lost + 1 if self._ask(is_answering) else 0
                    give_up = lost > self.LOST_CONNECTIONS
                elif kind is ErrorKind.CONTENTION:
                    conflicts += 1
                    give_up = not wait_for_locks and self._waited_in_vain(
                        error, time.monotonic() - began, limit, conflicts
                    )
                else:
                    give_up = self._is_of_this_work(kind, error)
                if give_up:
                    raise
                self._note(kind, error)
                if not self.sleep(wait * random.uniform(0.5, 1.0)):
                    raise Stopping(
                        f"{self.participant.name} stops while its database does not work"
                    ) from error
                wait = min(wait * 2, self.MAX_WAIT)
            else:
                if self._faulty:
                    self._recovered()
                return result

    def _limits(self, limit: timedelta, signals: int) -> list[str]:
        lock = min(self.LOCK_TIMEOUT, limit / 2)
        if time.monotonic() < self._busy_until:
            lock = min(lock, self.BUSY_LOCK_TIMEOUT * signals, self.LONGEST_BUSY_LOCK_TIMEOUT)
        # a process that was stopped or cut off lets go of its locks; between two statements a healthy one is
        # never so long
        idle = max(limit, min(limit * 2, timedelta(seconds=60)))
        return [str(int(each / timedelta(milliseconds=1))) for each in (limit, lock, idle)]

    def _waited_in_vain(self, error: Exception, seconds: float, limit: timedelta, conflicts: int) -> bool:
        """Whether the caller must decide about a transaction that others are in the way of."""
        state = state_of(error)
        if state in ("40001", "40P01"):
            return conflicts > self.CONFLICTS
        if (
            state == QUERY_CANCELED and seconds < limit.total_seconds()
        ):  # by an operator or a standby, not by statement_timeout
            return False
        if state == LOCK_NOT_AVAILABLE and time.monotonic() >= self._busy_until:
            self._busy_until = time.monotonic() + self.BUSY_FOR
        return True

    def _is_of_this_work(self, kind: ErrorKind, error: Exception) -> bool:
        """Whether the database works, and only what was asked of it does not."""
        if kind is ErrorKind.MISSING_TABLE:
            return self._ask(has_tables)
        if kind is ErrorKind.SERVER:
            return state_of(error) == INSUFFICIENT_PRIVILEGE and self._ask(is_writable)
        return True

    def _ask(self, question: Callable[[Cursor], bool]) -> bool:
        """Whether the database can be reached by a new connection, and says yes. Drops the old ones: they may
        lead to a server that is no longer the primary.
        """
        try:
            self.participant.database.discard()
            with self.participant.database.begin() as tx:
                return question(tx.cursor)
        except Exception as error:
            if classify(error) is not ErrorKind.SIGNAL:
                return False
            raise

    def _note(self, kind: ErrorKind, error: Exception) -> None:
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
