"""Tests the tests: replaying the model's traces detects a mistake in the engine."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import psycopg2
import pytest
from django.db import Error
from sqlalchemy.exc import DBAPIError

from ordersaga import outbox, paused_steps, receiver
from ordersaga.envelope import SignalRow
from ordersaga.journal import BeginResult, Journal
from ordersaga.protocol import context, forward, rollback
from ordersaga.protocol.context import Context
from ordersaga.sql import journal as journal_sql
from ordersaga.sql import saga as saga_sql
from tests.model.driver import ModelDriver
from tests.model.state import Act
from tests.model.traces import Trace, finish, follow, repeated

NOTICED = (AssertionError, DBAPIError, Error, psycopg2.Error)
"""A difference from the model, or a bad state that the database rejects."""

RESERVED = [Act("inventory", "OrderPlaced", "done")]
CHARGED = [*RESERVED, Act("payments", "StockReserved", "done")]
DECLINED = [*RESERVED, Act("payments", "StockReserved", "refuses")]
EXPIRED = [Act("clock", "deadline", "falls due"), Act("orders", "DeadlinePassed", "done")]
BARRED = [Act("inventory", "OrderExpired!", "rolls back")]
RELEASED = [Act("inventory", "PaymentDeclined!", "rolls back")]
begin, bar, answer, record_answers = Journal.begin_step, Journal.bar, Context.answer, Context.record_answers
repeat, defer = forward._repeat, paused_steps.defer


def begin_though_barred(journal: Journal, step: str, sagas: Sequence[str]) -> BeginResult:
    begun = begin(journal, step, sagas)
    return begun._replace(
        runnable=sorted([*begun.runnable, *(s for s, e in begun.found.items() if e.state == "barred")])
    )


def bar_only_what_has_no_row(journal: Journal, sagas: Sequence[str], steps: Sequence[str]) -> Any:
    live = {e.step for e in journal.lock_all(sagas) if e.state == "retrying"}
    with patch.object(Journal, "set", lambda *_: None):
        return [entry for entry in bar(journal, sagas, steps) if entry.step not in live]


def note_only_while_rolling_back(self: Context, answers: Sequence[tuple[str, str]], causes: Any) -> None:
    status = self.lock_sagas({saga for saga, _ in answers})
    record_answers(self, [(s, p) for s, p in answers if status.get(s) == "ROLLING_BACK"], causes)


def answer_once() -> Callable[[Context, dict[str, Any]], None]:
    given: set[tuple[str, str]] = set()

    def answer_new(self: Context, causes: dict[str, Any]) -> None:
        new = {saga: cause for saga, cause in causes.items() if (self.participant.name, saga) not in given}
        given.update((self.participant.name, saga) for saga in new)
        answer(self, new)

    return answer_new


def receive_without_marks(context: Context, rows: Sequence[SignalRow[Any]]) -> None:
    rollback.receive_refusals(context, [row._replace(again=0) for row in rows])


def repeat_without_marks(context: Context, received: dict[str, SignalRow[Any]], found: Any) -> None:
    repeat(context, {saga: row._replace(again=0) for saga, row in received.items()}, found)


def defer_without_marks(context: Context, rows: Sequence[SignalRow[Any]], *wait: Any) -> None:
    defer(context, [row._replace(again=0) for row in rows], *wait)


def admit_all(*arguments: Any) -> paused_steps.Admission:
    return paused_steps.Admission(list(arguments[-1]), probe=False)


def do_nothing(*_: Any, **__: Any) -> None:
    pass


MUTANTS: dict[str, tuple[Callable[[], AbstractContextManager[Any]], list[Act]]] = {
    "no step is barred": (
        lambda: patch.object(
            journal_sql, "BAR", journal_sql.BAR.replace("ORDER BY", "WHERE saga IS NULL ORDER BY")
        ),
        [*EXPIRED, *BARRED],
    ),
    "a barred step runs": (
        lambda: patch.object(Journal, "begin_step", begin_though_barred),
        [
            *EXPIRED,
            Act("inventory", "OrderExpired!", "rolls back"),
            Act("inventory", "OrderPlaced", "nothing, as it is barred"),
        ],
    ),
    "a retrying step is not barred": (
        lambda: patch.object(Journal, "bar", bar_only_what_has_no_row),
        [
            Act("inventory", "OrderPlaced", "raises"),
            *EXPIRED,
            Act("inventory", "OrderExpired!", "rolls back"),
        ],
    ),
    "StepFailed leaves no row": (
        lambda: patch.object(Journal, "give_up", do_nothing),
        [*RESERVED, Act("payments", "StockReserved", "gives up")],
    ),
    "answers are ignored while PENDING": (
        lambda: patch.object(Context, "record_answers", note_only_while_rolling_back),
        [*DECLINED, *RELEASED, Act("orders", "Answer(inventory)", "counted")],
    ),
    "the first answer closes": (
        lambda: patch.object(saga_sql, "CLOSE", saga_sql.CLOSE.replace("participants <@", "'{}' <>")),
        [
            *DECLINED,
            *RELEASED,
            Act("orders", "Answer(inventory)", "counted"),
            Act("orders", "PaymentDeclined!", "rolls back"),
        ],
    ),
    "only the first refusal is answered": (
        lambda: patch.object(Context, "answer", answer_once()),
        [*DECLINED, *EXPIRED, Act("inventory", "OrderExpired!", "rolls back")],
    ),
    "who lost the compare-and-set goes on": (
        lambda: patch.object(forward, "_lock_pending", lambda *arguments: arguments[-1]),
        [*CHARGED, *EXPIRED],
    ),
    "a deadline is not deleted": (
        lambda: patch.multiple(context, cancel_timers=do_nothing),
        [*CHARGED],
    ),
    "late signals get no answer": (
        lambda: patch.object(forward, "_repeat", do_nothing),
        [*DECLINED, *RELEASED],
    ),
    "an undo is given up": (
        lambda: patch.object(outbox.Outbox, "retry_later", do_nothing),
        [*DECLINED, Act("inventory", "PaymentDeclined!", "rolls back, undo fails")],
    ),
    "a reminder does not undo": (
        lambda: patch.dict(
            receiver.HANDLERS,
            {receiver.REFUSALS: receiver.Handler(receive_without_marks, rollback.defer_undos)},
        ),
        [
            *DECLINED,
            Act("inventory", "PaymentDeclined!", "rolls back, undo fails"),
            Act("payments", "StockReserved", "nothing, as it is refused"),
            Act("inventory", "PaymentDeclined!*", "undoes at last"),
        ],
    ),
    "a done step does not re-send its signal": (
        lambda: patch.object(forward, "_repeat", repeat_without_marks),
        [*RESERVED, Act("payments", "StockReserved", "lost"), Act("clock", "watchdog", "reminds")],
    ),
    "a paused step drops its signals": (
        lambda: patch.object(outbox.Outbox, "defer", do_nothing),
        [Act("inventory", "OrderPlaced", "paused")],
    ),
    "a paused step loses the mark *again*": (
        lambda: patch.object(paused_steps, "defer", defer_without_marks),
        [
            *RESERVED,
            Act("payments", "StockReserved", "lost"),
            Act("clock", "watchdog", "reminds"),
            Act("inventory", "OrderPlaced*", "paused"),
        ],
    ),
    "a paused step runs": (
        lambda: patch.object(paused_steps, "admit", admit_all),
        [Act("inventory", "OrderPlaced", "paused")],
    ),
    "answers are not received": (
        lambda: patch.dict(receiver.HANDLERS, {outbox.ANSWER: receiver.Handler(do_nothing)}),
        [*DECLINED, *RELEASED],
    ),
}


def perform(driver: ModelDriver, acts: list[Act]) -> None:
    """Replay the acts to the end in several orders, and once with every delivery repeated."""
    for trace in traces(acts):
        driver.replay(trace)


def traces(acts: list[Act]) -> Iterator[Trace]:
    yield repeated(acts)
    for seed in range(4):
        world, trace = follow(acts)
        yield trace + finish(world, random.Random(seed))


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mistake_in_the_engine_is_detected(driver: ModelDriver, mutant: str):
    make, acts = MUTANTS[mutant]

    with make(), pytest.raises(NOTICED):
        perform(driver, acts)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_without_the_mistake_the_same_traces_agree(driver: ModelDriver, mutant: str):
    perform(driver, MUTANTS[mutant][1])
