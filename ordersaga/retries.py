"""Put signals back into the participant's own queue, to be handled again later."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from ordersaga.envelope import SignalRow, with_plain_data
from ordersaga.errors import NewerVersion
from ordersaga.job import Job, StepJob
from ordersaga.log import LogEvent, failure
from ordersaga.outbox import UNDO, WATCHDOG
from ordersaga.protocol import forward
from ordersaga.protocol.context import Context
from ordersaga.step import Retry

logger = logging.getLogger(__name__)

ENGINE_RETRY = Retry()
"""How often a signal of the engine, such as an answer, is tried before it becomes a dead letter."""
MIN_DELAY, MAX_DELAY = timedelta(seconds=0.5), timedelta(seconds=15)
"""A postponed signal waits as long as its age, within these bounds."""


def postpone(job: Job, row: SignalRow[Any], error: Exception) -> None:
    """Put a signal back without counting an attempt; the older the signal, the longer it waits."""
    wait = min(max(_age(row), MIN_DELAY), MAX_DELAY)
    # only a lock on the whole table can block this insert
    job.run(lambda context: _put_back(context, row, wait), wait_for_locks=True)
    fields = {**job.log_fields(row), "wait": _seconds(wait), **failure(error)}
    logger.warning(LogEvent("signal_postponed", "The signal waits and is then handled again.", **fields))


def retry_engine_signal(job: Job, row: SignalRow[Any], attempt: int, error: Exception) -> None:
    """Put a failed signal of the engine back, with backoff.

    :raises Exception: ``error``, after the last attempt. The envelope of a retry contains only this signal
        and becomes a dead letter.
    """
    if attempt >= ENGINE_RETRY.attempts:
        raise error
    wait = ENGINE_RETRY.wait(attempt)
    job.run(lambda context: _put_back(context, row, wait, attempt + 1), wait_for_locks=True)
    fields = {**job.log_fields(row), "attempt": attempt, "wait": _seconds(wait), **failure(error)}
    event = LogEvent(
        "engine_signal_failed_retrying", "A signal of the engine failed; it is retried.", **fields
    )
    logger.warning(event)


def await_release(job: StepJob, row: SignalRow[Any], error: NewerVersion) -> None:
    """Postpone a signal of a newer version until this pool is deployed, unless its saga is rolled back."""

    def handle_if_late(context: Context) -> bool:
        late = not forward.may_run(context, job.step, row.saga)
        if late:
            forward.run_step(context, job.step, [row])
        return late

    if not job.run(handle_if_late):
        postpone(job, row, error)


def _put_back(context: Context, row: SignalRow[Any], wait: timedelta, attempt: int = 1) -> None:
    header = context.outbox.header._replace(participant=row.by, attempt=attempt)
    one_per_saga = context.topic.startswith("signal.") or context.topic in (WATCHDOG, UNDO)
    put = context.outbox.retry_later if one_per_saga else context.outbox.retry
    put(with_plain_data(row), header, context.topic, wait)
    context.outbox.flush(context.cursor)


def _age(row: SignalRow[Any]) -> timedelta:
    """The time since a signal was emitted, by this machine's clock."""
    try:
        return datetime.now(UTC) - datetime.fromisoformat(row.at)
    except (TypeError, ValueError):
        return timedelta(0)


def _seconds(wait: timedelta) -> float:
    return round(wait.total_seconds(), 3)
