"""An envelope may hold an ordinary and a marked copy of a signal; the mark *again* counts in either order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import orjson
import pytest

from ordersaga.envelope import SignalRow, encode_envelope, encode_pack, encode_row, read_packs, read_rows
from ordersaga.protocol.context import Context
from ordersaga.testing import QueuedEnvelope, Rehearsal
from tests.ordersaga.toy_saga import DESK, Plan, Shape, Toy, empty_outbox, toy_database
from tests.support.postgres import Postgres

ORDINARY, AGAIN = 0, 1
Marks = tuple[int, int]
STATE = "SELECT state FROM ordersaga_journal WHERE saga_id = %s AND step = 'shelf.step0'"


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> Iterator[str]:
    with toy_database(postgres, "repeats") as url:
        yield url


def first_copy(_: Context, rows: Sequence[SignalRow[Any]]) -> dict[str, SignalRow[Any]]:
    return {row.saga: row for row in reversed(rows)}


def last_copy(_: Context, rows: Sequence[SignalRow[Any]]) -> dict[str, SignalRow[Any]]:
    return {row.saga: row for row in rows}


MISTAKES = pytest.mark.parametrize(
    ("mistake", "marks"), [(first_copy, (ORDINARY, AGAIN)), (last_copy, (AGAIN, ORDINARY))]
)
ORDERS = pytest.mark.parametrize(
    "marks", [(ORDINARY, AGAIN), (AGAIN, ORDINARY)], ids=["ordinary first", "again first"]
)


def sent_again(url: str, marks: Marks) -> bool:
    """Return whether a step whose signal was lost re-sends it when it receives both copies."""
    toy, rehearsal, _ = began(url, Plan())
    received = deliver(rehearsal, "shelf", "signal.Heard0")
    lose_all(rehearsal)

    rehearsal.deliver(copies(received, marks))

    rehearsal.collect()
    sent = [
        row.again
        for queued in rehearsal.waiting("till", "signal.Heard1")
        for row in read_rows(queued.envelope.body)
    ]
    toy.database.discard()
    return sent == [AGAIN]


def undone(url: str, marks: Marks) -> bool:
    """Return whether an undo whose retry was lost runs when both copies of the refusal arrive."""
    toy, rehearsal, saga = began(url, Plan(undo_failures=1))
    deliver(rehearsal, "shelf", "signal.Heard0")
    rehearsal.make_timers_due("deadline", saga)
    deliver(rehearsal, DESK, "signal.DeadlinePassed")
    refusal = deliver(rehearsal, "shelf", "refusal.Expired")
    assert toy.rows(STATE, saga) == [("undoing",)]
    lose_all(rehearsal)

    rehearsal.deliver(copies(refusal, marks))

    state = toy.rows(STATE, saga)
    toy.database.discard()
    return state == [("undone",)]


def began(url: str, plan: Plan) -> tuple[Toy, Rehearsal, str]:
    """Start one saga, with a plan for its first step."""
    empty_outbox(url)
    toy = Toy(Shape(("shelf", "till"), (True, True), plans={("step0", 0): plan}), url)
    [saga] = toy.start(1)
    return toy, Rehearsal(toy.choreography), saga


def deliver(rehearsal: Rehearsal, to: str, topic: str) -> QueuedEnvelope:
    """Deliver the one envelope of a topic to a participant; return it."""
    rehearsal.collect()
    [queued] = rehearsal.waiting(to, topic)
    rehearsal.deliver(queued)
    return queued


def lose_all(rehearsal: Rehearsal) -> None:
    """Drop all undelivered messages, including retries."""
    rehearsal.collect()
    rehearsal.queued.clear()


def copies(queued: QueuedEnvelope, marks: Marks) -> QueuedEnvelope:
    """Return an envelope with two copies of a signal, with these marks."""
    [(head, [row])] = read_packs(queued.envelope.body)
    data = orjson.dumps(row.data).decode()
    packs = [encode_pack(head, [encode_row(row._replace(data=data, again=again))]) for again in marks]
    return QueuedEnvelope(
        queued.to,
        queued.envelope._replace(body=encode_envelope(queued.envelope.topic, packs), signals=len(packs)),
    )


ENDS = pytest.mark.parametrize("ends_well", [sent_again, undone])
"""A done step re-sends its signal; an undo whose retry was lost is retried."""


@ENDS
@ORDERS
def test_a_copy_marked_again_counts_beside_an_ordinary_one(
    url: str, ends_well: Callable[[str, Marks], bool], marks: Marks
):
    assert ends_well(url, marks)


@ENDS
@MISTAKES
def test_dropping_the_marked_copy_is_detected(
    url: str, ends_well: Callable[[str, Marks], bool], mistake: Any, marks: Marks
):
    """Tests the test above."""
    with patch.object(Context, "by_saga", mistake):
        assert not ends_well(url, marks)


def test_a_signal_still_in_the_outbox_is_not_re_sent(url: str):
    """While no relay runs, each reminder would otherwise add a copy of every signal."""
    toy, rehearsal, _ = began(url, Plan())
    received = deliver(rehearsal, "shelf", "signal.Heard0")

    for _ in range(3):
        rehearsal.deliver(copies(received, (AGAIN, ORDINARY)))

    rehearsal.collect()
    [queued] = rehearsal.waiting("till", "signal.Heard1")
    assert [row.again for row in read_rows(queued.envelope.body)] == [ORDINARY]
    toy.database.discard()


def test_a_reminder_re_sends_no_signal_still_in_the_outbox(url: str):
    toy, rehearsal, saga = began(url, Plan())
    toy.execute("UPDATE ordersaga_saga SET moved_at = now() - interval '1 day' WHERE id = %s", saga)
    toy.execute("UPDATE ordersaga_outbox SET due_at = now() + interval '1 day' WHERE kind = 'said'")
    rehearsal.make_timers_due("watchdog", saga)

    deliver(rehearsal, DESK, "watchdog")

    assert toy.rows("SELECT rounds FROM ordersaga_saga WHERE id = %s", saga) == [(1,)]
    toy.execute("UPDATE ordersaga_outbox SET due_at = now() WHERE kind = 'said'")
    rehearsal.collect()
    assert [
        row.again
        for queued in rehearsal.waiting("shelf", "signal.Heard0")
        for row in read_rows(queued.envelope.body)
    ] == [ORDINARY]
    toy.database.discard()
