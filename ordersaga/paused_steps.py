"""A circuit breaker for each step: one that fails for many sagas and succeeds for none is paused, and tried
with one at a time.

Without it, a bad release or a dependency that is down for some minutes rolls back every order that comes by.
While a step is paused its signals wait in the outbox of its participant, as whole packs; nothing is written
to the journal and no attempt is counted. Other steps, refusals and undos of the participant go on.

Each process counts failures by itself. That a step is paused stands in the participant's database, so that
one process probes at a time and the others learn from it; a process that has not seen the failures goes on as
long as the step works there.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterable, Sequence
from datetime import timedelta
from threading import Lock
from typing import Any, NamedTuple

from ordersaga.batch import SagaId
from ordersaga.envelope import SignalRow
from ordersaga.journal import clean
from ordersaga.log import safe_message
from ordersaga.protocol.context import Context
from ordersaga.sql import paused_step as sql
from ordersaga.step import Step

FALLBACK = timedelta(seconds=60)
"""When paused signals come back although no probe has succeeded: one that probed may have died."""


class CircuitBreaker:
    """Whether a step is paused in this process, and how many sagas it has failed for since it
    last succeeded.
    """

    THRESHOLD = 5
    """Sagas that a step has failed for, with no success in between, that pause it."""

    def __init__(self) -> None:
        self.paused = False
        self._failed: set[SagaId] = set()
        self._lock = Lock()

    def succeeded(self) -> None:
        """The step has worked for a saga."""
        if self._failed:
            with self._lock:
                self._failed.clear()

    def failed(self, saga: SagaId) -> bool:
        """The step has failed for a saga; whether it is to be paused."""
        with self._lock:
            self._failed.add(saga)
            return self.paused or len(self._failed) >= self.THRESHOLD

    def pause(self) -> None:
        """Let no signal reach the step but probes."""
        self.paused = True

    def resume(self) -> None:
        """Let all signals reach the step."""
        with self._lock:
            self._failed.clear()
            self.paused = False


class Admission(NamedTuple):
    """What becomes of the rows of an envelope for a step that is paused in this process.

    :ivar rows: those to run now.
    :ivar probe: whether they are one row that tries whether the step works again; else the step has been
        resumed elsewhere.
    """

    rows: list[SignalRow[Any]]
    probe: bool


def pause(context: Context, step: Step, topic: str, row: SignalRow[Any], error: Exception) -> bool:
    """Note that a step is paused and put a row away for the next probe; whether the step was not paused
    before.
    """
    process = f"{os.getpid()}@{socket.gethostname()}"
    context.cursor.execute(sql.PAUSE, [step.key, step.participant, clean(safe_message(error), 500), process])
    new, wait = context.cursor.fetchone()
    put_away(context, topic, [row], wait)
    context.outbox.flush(context.cursor)
    return bool(new)


def admit(context: Context, step: Step, topic: str, rows: Sequence[SignalRow[Any]]) -> Admission:
    """Which rows for a paused step may run: all if it was resumed, one if a probe is due, else none. Others
    are put away.
    """
    context.cursor.execute(sql.PROBE, [step.key])
    probe = context.cursor.fetchone() is not None
    chosen: list[SignalRow[Any]] = []
    if probe:
        chosen = [
            random.choice(rows)
        ]  # not the first: a bad order at the head must not be the probe every time
    else:
        context.cursor.execute(sql.WAIT, [step.key])
        if context.cursor.fetchone() is None:
            return Admission(list(rows), probe=False)
    put_away(context, topic, [row for row in rows if row not in chosen])
    context.outbox.flush(context.cursor)
    return Admission(chosen, probe)


def put_away_if_paused(context: Context, step: Step, topic: str, row: SignalRow[Any]) -> bool:
    """Keep a row that failed here for later, without an attempt, if another process has paused the step;
    whether it has.
    """
    context.cursor.execute(sql.WAIT, [step.key])
    found = context.cursor.fetchone()
    if found is not None:
        put_away(context, topic, [row])
        context.outbox.flush(context.cursor)
    return found is not None


def probe_failed(context: Context, step: Step, topic: str, row: SignalRow[Any]) -> None:
    """Put the row of a probe away for the next one."""
    context.cursor.execute(sql.WAIT, [step.key])
    found = context.cursor.fetchone()
    put_away(context, topic, [row], found[0] if found else timedelta(seconds=1))
    context.outbox.flush(context.cursor)


def resume(context: Context, step: Step, topic: str) -> bool:
    """Note that a step works, and let its paused signals come back now; False when it was not paused."""
    context.cursor.execute(sql.RESUME, [step.key])
    resumed = context.cursor.fetchone() is not None
    context.cursor.execute(sql.RELEASE, [context.participant.name, topic])
    return resumed


def put_away(
    context: Context, topic: str, rows: Iterable[SignalRow[Any]], wait: timedelta = FALLBACK
) -> None:
    """Keep rows for later, by the participant that emitted them."""
    by: dict[str, list[SignalRow[Any]]] = {}
    for row in rows:
        by.setdefault(row.by, []).append(row)
    for emitter, its in by.items():
        context.outbox.defer(its, context.outbox.header._replace(participant=emitter), topic, wait)
