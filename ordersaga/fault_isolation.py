"""Handle many rows in one transaction; if it fails, handle each row in its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from ordersaga import paused_steps
from ordersaga.classification import ErrorKind, classify, is_of_the_signal
from ordersaga.envelope import SignalRow
from ordersaga.errors import WaitAborted
from ordersaga.job import Job, StepJob
from ordersaga.log import LogEvent, failure
from ordersaga.protocol.context import Context
from ordersaga.protocol.forward import StepResult
from ordersaga.retries import postpone

logger = logging.getLogger(__name__)

Rows = Sequence[SignalRow[Any]]
Work = Callable[[Context, Rows], StepResult | None]
"""Handles rows in a transaction; returns the result of a step."""
OnFailure = Callable[[SignalRow[Any], Exception], None]
"""Handles a row whose transaction failed for good, in a new transaction."""


def handle_rows(
    job: Job,
    rows: Rows,
    work: Work,
    on_failure: OnFailure,
    *,
    at_most: int | None = None,
    level: int = logging.INFO,
) -> None:
    """Handle rows, at most ``at_most`` in one transaction (None: all).

    Once one transaction has paused the step, the remaining rows are stored for later.

    :param level: of the log event of each transaction.
    :raises Exception: the first one that ``on_failure`` raises, after all rows are handled.
    """
    run_all(_transactions(job, rows, work, on_failure, at_most, level))


def handle_failure(job: Job, row: SignalRow[Any], error: Exception, on_failure: OnFailure) -> None:
    """Call ``on_failure``; postpone the row if locks of another transaction caused an error."""
    if not _is_contention(error):
        try:
            on_failure(row, error)
        except Exception as further:
            if classify(further) is ErrorKind.SIGNAL:
                raise
            error = further
        else:
            return
    postpone(job, row, error)


def run_all(works: Iterable[Callable[[], object]]) -> None:
    """Call all; then raise the first error, so that the envelope becomes a dead letter."""
    failed: Exception | None = None
    for work in works:
        try:
            work()
        except WaitAborted:
            raise
        except Exception as error:  # noqa: BLE001 - raised below
            failed = failed or error
    if failed is not None:
        raise failed


def _transactions(
    job: Job, rows: Rows, work: Work, on_failure: OnFailure, at_most: int | None, level: int
) -> Iterator[Callable[[], None]]:
    """The transactions to run in order; they end with the one that defers the rows of a paused step."""
    size = at_most or max(len(rows), 1)
    for at in range(0, len(rows), size):
        if isinstance(job, StepJob) and job.breaker.paused:
            yield partial(paused_steps.defer_rest, job, rows[at:])
            return
        yield partial(_handle_in_transaction, job, rows[at : at + size], work, on_failure, level)


def _handle_in_transaction(job: Job, rows: Rows, work: Work, on_failure: OnFailure, level: int) -> None:
    if not rows:
        return
    began = time.perf_counter()
    rows = sorted(rows, key=lambda row: row.saga)
    try:
        result = job.run(lambda context: work(context, rows), job.time_limit, signals=len(rows))
    except WaitAborted:
        raise
    except Exception as error:  # noqa: BLE001 - handled below, outside this block
        caught = error
    else:
        _log_success(job, rows, result, began, level)
        return
    if len(rows) == 1:
        handle_failure(job, rows[0], caught, on_failure)
    else:
        log_batch_failed(len(rows), caught)
        handle_rows(job, rows, work, on_failure, at_most=1, level=logging.DEBUG)


def log_batch_failed(signals: int, error: Exception) -> None:
    sentence = "The batch failed; its signals are handled one by one."
    logger.warning(LogEvent("batch_failed", sentence, signals=signals, **failure(error)))


def _log_success(job: Job, rows: Rows, result: StepResult | None, began: float, level: int) -> None:
    if isinstance(job, StepJob) and result is not None and result.sagas:
        job.breaker.record_success()
    if logger.isEnabledFor(level):
        fields: dict[str, Any] = dict(job.log_fields(rows[0])) if len(rows) == 1 else {}
        fields |= {
            "attempt": result.attempt if result else None,
            "signals": len(rows),
            "seconds": since(began),
        }
        logger.log(level, LogEvent("signals_handled", "The signals are handled.", **fields))


def since(began: float) -> float:
    """The seconds since ``began``, a time of :func:`time.perf_counter`."""
    return round(time.perf_counter() - began, 4)


def _is_contention(error: Exception) -> bool:
    return classify(error) is ErrorKind.CONTENTION and not is_of_the_signal(error)
