"""Classify errors by what makes the same transaction succeed.

Only an error of the signal counts as an attempt of its step. All others concern the database, the connection
or other transactions; the same signal succeeds when these work again.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from ordersaga.database import is_connection_error, sqlstate_of


class ErrorKind(Enum):
    """Kinds of errors, by what makes the same transaction succeed."""

    SIGNAL = "signal"
    """The signal or its step is faulty: count an attempt."""
    CONNECTION = "connection"
    """The database cannot be reached, or the connection was lost: wait and reconnect."""
    SERVER = "server"
    """The database refuses all work, for example because it is read-only or its disk is full: wait."""
    CONTENTION = "contention"
    """Another transaction holds a lock: repeat, or postpone the signal."""
    MISSING_TABLE = "missing table"
    """A table does not exist: the database is not migrated, or a step uses a wrong name."""


INSUFFICIENT_PRIVILEGE = "42501"
UNDEFINED_TABLE = "42P01"
SERIALIZATION_FAILURE, DEADLOCK = "40001", "40P01"
LOCK_NOT_AVAILABLE = "55P03"
"""``lock_timeout`` expired."""
QUERY_CANCELED = "57014"
"""``statement_timeout`` expired, or a person or a standby cancelled the statement."""

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_KINDS = {
    "25006": ErrorKind.SERVER,  # read-only transaction: a standby, or a former primary after a fail-over
    INSUFFICIENT_PRIVILEGE: ErrorKind.SERVER,
    SERIALIZATION_FAILURE: ErrorKind.CONTENTION,
    DEADLOCK: ErrorKind.CONTENTION,
    UNDEFINED_TABLE: ErrorKind.MISSING_TABLE,
    LOCK_NOT_AVAILABLE: ErrorKind.CONTENTION,
    QUERY_CANCELED: ErrorKind.CONTENTION,
    "57P04": ErrorKind.SERVER,  # database dropped
    "XX001": ErrorKind.SERVER,  # data corrupted
    "XX002": ErrorKind.SERVER,  # index corrupted
}
_CLASSES = {
    "53": ErrorKind.SERVER,  # insufficient resources: disk full, out of memory, a limit of the configuration
    "58": ErrorKind.SERVER,  # system error: input or output failed, a file is missing
}


def classify(error: BaseException) -> ErrorKind:
    """The kind of an error, by its SQLSTATE or that of its explicit cause."""
    for each in _chain(error):
        if is_connection_error(each):
            return ErrorKind.CONNECTION
        if state := sqlstate_of(each):
            return _KINDS.get(state) or _CLASSES.get(state[:2], ErrorKind.SIGNAL)
    return ErrorKind.SIGNAL


def state_of(error: BaseException) -> str | None:
    """The SQLSTATE of an error or of its explicit cause."""
    return next((state for each in _chain(error) if (state := sqlstate_of(each))), None)


def is_of_the_signal(error: BaseException) -> bool:
    """Whether an error counts as an attempt of the step.

    It does not if the step waited for another transaction's lock, or if the database refuses the same to
    every signal. A ``statement_timeout`` counts: waiting for a lock ends earlier, by ``lock_timeout``.
    """
    kind = classify(error)
    return kind not in (ErrorKind.CONTENTION, ErrorKind.SERVER) or state_of(error) == QUERY_CANCELED


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or getattr(error, "orig", None)
