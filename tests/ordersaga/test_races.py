"""Two workers receive racing signals of the same sagas at once: no deadlock, and no wrong end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import orjson
import pytest

from ordersaga.envelope import encode_envelope, encode_pack, encode_row, read_packs
from ordersaga.journal import Entry, Journal
from ordersaga.protocol.context import Context
from ordersaga.testing import QueuedEnvelope, Rehearsal
from tests.ordersaga.toy_saga import DESK, Shape, Toy, empty_outbox, toy_database
from tests.support.databases import LOCK_WAITERS
from tests.support.polling import eventually
from tests.support.postgres import Postgres
from tests.support.time_scale import scaled

ROUNDS = 12
SAGAS = 6
SHAPE = Shape(owners=("shelf", "till"), batched=(True, True), ships="shelf")


class Gate:
    """Blocks the first caller until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def pass_by(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            assert self.opened.wait(scaled(20))


class RacingSagas:
    """A toy choreography whose envelopes the test delivers one by one, or two at once."""

    def __init__(self, url: str, seed: int = 0) -> None:
        empty_outbox(url)
        self.toy = Toy(SHAPE, url)
        self.rehearsal = Rehearsal(self.toy.choreography, seed=seed)
        self.sagas = self.toy.start(SAGAS)
        self._pool = ThreadPoolExecutor(2)

    def take(self, to: str, topic: str) -> QueuedEnvelope:
        """Return the envelope of this topic for this participant."""
        self.rehearsal.collect()
        [queued] = self.rehearsal.waiting(to, topic)
        self.rehearsal.queued.remove(queued)
        return queued

    def deliver(self, to: str, *topics: str) -> None:
        for topic in topics:
            self.rehearsal.deliver(self.take(to, topic))

    def expire(self) -> None:
        """Let the deadline of all sagas pass before any other signal is delivered."""
        self.rehearsal.make_timers_due("deadline")
        self.deliver(DESK, "signal.DeadlinePassed")

    def queue_up(self, gate: Gate, first: QueuedEnvelope, second: QueuedEnvelope) -> None:
        """Block one worker at the gate, wait until the other waits for its lock, and open the gate."""
        held = self._pool.submit(self.rehearsal.deliver, first)
        assert gate.reached.wait(scaled(20))
        waiting = self._pool.submit(self.rehearsal.deliver, second)
        eventually(
            lambda: self.toy.rows(LOCK_WAITERS)[0][0],
            20,
            f"{second.envelope.topic} to wait for {first.envelope.topic}",
        )
        gate.opened.set()
        held.result(scaled(20))
        waiting.result(scaled(20))

    def at_once(self, *queued: QueuedEnvelope) -> None:
        """Deliver envelopes by two workers at the same moment."""
        barrier = threading.Barrier(len(queued))

        def deliver(each: QueuedEnvelope) -> None:
            barrier.wait()
            self.rehearsal.deliver(each)

        for done in [self._pool.submit(deliver, each) for each in queued]:
            done.result(timeout=scaled(30))

    def end(self) -> set[str]:
        """Deliver everything; every saga has a good end, and no transaction was aborted by a deadlock."""
        self.rehearsal.run()
        ends = {self.toy.assert_all_or_nothing(saga) for saga in self.sagas}
        assert not self.toy.database.errors
        self._pool.shutdown()
        self.toy.database.discard()
        return ends


Race = Callable[[RacingSagas], list[QueuedEnvelope]]


def step_against_refusal(racing: RacingSagas) -> list[QueuedEnvelope]:
    racing.expire()
    return [racing.take("shelf", "signal.Heard0"), racing.take("shelf", "refusal.Expired")]


def confirm_against_expire(racing: RacingSagas) -> list[QueuedEnvelope]:
    racing.rehearsal.make_timers_due("deadline")
    expired = racing.take(DESK, "signal.DeadlinePassed")
    racing.deliver("shelf", "signal.Heard0")
    racing.deliver("till", "signal.Heard1")
    return [racing.take(DESK, "signal.Heard2"), expired]


def confirm_against_refusal(racing: RacingSagas) -> list[QueuedEnvelope]:
    racing.deliver("shelf", "signal.Heard0")
    racing.deliver("till", "signal.Heard1")
    confirmed = racing.take(DESK, "signal.Heard2")
    racing.expire()
    return [confirmed, racing.take(DESK, "refusal.Expired")]


def two_answers(racing: RacingSagas) -> list[QueuedEnvelope]:
    racing.expire()
    racing.deliver(DESK, "refusal.Expired")
    racing.deliver(DESK, "answer")  # its own answer, for observers
    racing.deliver("shelf", "refusal.Expired")
    first = racing.take(DESK, "answer")
    racing.deliver("till", "refusal.Expired")
    return [first, racing.take(DESK, "answer")]


def answer_against_refusal(racing: RacingSagas) -> list[QueuedEnvelope]:
    racing.expire()
    racing.deliver("shelf", "refusal.Expired")
    return [racing.take(DESK, "answer"), racing.take(DESK, "refusal.Expired")]


def a_step_twice(racing: RacingSagas) -> list[QueuedEnvelope]:
    queued = racing.take("shelf", "signal.Heard0")
    return [queued, queued]


def a_refusal_twice(racing: RacingSagas) -> list[QueuedEnvelope]:
    racing.deliver("shelf", "signal.Heard0")
    racing.expire()
    queued = racing.take("shelf", "refusal.Expired")
    return [queued, queued]


RACES: list[Race] = [
    step_against_refusal,
    confirm_against_expire,
    confirm_against_refusal,
    two_answers,
    answer_against_refusal,
    a_step_twice,
    a_refusal_twice,
]


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> Iterator[str]:
    with toy_database(postgres, "races") as url:
        yield url


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
def test_racing_signals_never_end_wrongly(url: str, race: Race):
    for seed in range(ROUNDS):
        racing = RacingSagas(url, seed)
        racing.at_once(*race(racing))
        racing.end()


def held_at(gate: Gate, owner: type[Any], method: str, *, after: bool) -> Any:
    """Return a patch that blocks the first call of a method at the gate."""
    original = getattr(owner, method)

    def call(*args: Any, **kwargs: Any) -> Any:
        if not after:
            gate.pass_by()
        result = original(*args, **kwargs)
        if after:
            gate.pass_by()
        return result

    return patch.object(owner, method, call)


def test_a_refusal_waits_for_a_running_step_and_undoes_it(url: str):
    racing = RacingSagas(url)
    racing.expire()
    step, refusal = racing.take("shelf", "signal.Heard0"), racing.take("shelf", "refusal.Expired")
    gate = Gate()

    with held_at(gate, Journal, "begin_step", after=True):
        racing.queue_up(gate, step, refusal)

    journal = racing.toy.rows("SELECT state FROM ordersaga_journal WHERE step = 'shelf.step0'" + mine(racing))
    assert journal == [("undone",)] * SAGAS
    assert racing.end() == {"ROLLED_BACK"}


def test_a_refusal_without_a_re_read_is_detected(url: str):
    """Tests the test above: the mistake is possible, and is detected."""
    racing = RacingSagas(url)
    racing.expire()
    step, refusal = racing.take("shelf", "signal.Heard0"), racing.take("shelf", "refusal.Expired")
    gate, bar = Gate(), Journal.bar

    def bar_by_what_was_read_before(
        journal: Journal, sagas: Sequence[str], steps: Sequence[str]
    ) -> list[Entry]:
        before = {(e.saga, e.step) for e in journal.lock_all(sagas)}
        return [e for e in bar(journal, sagas, steps) if (e.saga, e.step) in before]

    with (
        held_at(gate, Journal, "begin_step", after=True),
        patch.object(Journal, "bar", bar_by_what_was_read_before),
    ):
        racing.queue_up(gate, step, refusal)

    with pytest.raises(AssertionError):
        racing.end()


def test_a_step_waits_for_a_running_refusal_and_is_barred(url: str):
    racing = RacingSagas(url)
    racing.expire()
    step, refusal = racing.take("shelf", "signal.Heard0"), racing.take("shelf", "refusal.Expired")
    gate = Gate()

    with held_at(gate, Journal, "bar", after=True):
        racing.queue_up(gate, refusal, step)

    assert racing.end() == {"ROLLED_BACK"}


def test_the_last_two_answers_see_one_another(url: str):
    racing = RacingSagas(url)
    one, other = two_answers(racing)
    gate = Gate()

    with held_at(gate, Context, "close", after=False):
        racing.queue_up(gate, one, other)

    open_ = racing.toy.rows("SELECT id FROM ordersaga_saga WHERE ended_at IS NULL" + mine(racing, "id"))
    assert not open_
    assert racing.end() == {"ROLLED_BACK"}


def test_a_partly_repeated_refusal_locks_all_sagas_in_one_order(url: str):
    racing = RacingSagas(url)
    racing.expire()
    refusal = racing.take(DESK, "refusal.Expired")
    racing.rehearsal.deliver(only(refusal, racing.sagas[:-2]))
    racing.deliver(DESK, "answer")
    racing.deliver("shelf", "refusal.Expired")
    answers = racing.take(DESK, "answer")
    gate = Gate()

    with held_at(gate, Context, "roll_back", after=True):
        racing.queue_up(gate, refusal, answers)

    assert racing.end() == {"ROLLED_BACK"}


def test_a_partly_late_confirmation_locks_all_sagas_in_one_order(url: str):
    racing = RacingSagas(url)
    racing.deliver("shelf", "signal.Heard0")
    racing.deliver("till", "signal.Heard1")
    charged = racing.take(DESK, "signal.Heard2")
    for saga in racing.sagas[:-2]:
        racing.rehearsal.make_timers_due("deadline", saga)
    racing.deliver(DESK, "signal.DeadlinePassed", "refusal.Expired")
    racing.rehearsal.make_timers_due("watchdog")
    reminders = racing.take(DESK, "watchdog")
    gate = Gate()

    with held_at(gate, Context, "confirm", after=True):
        racing.queue_up(gate, charged, reminders)

    assert racing.end() == {"CONFIRMED", "ROLLED_BACK"}


def only(queued: QueuedEnvelope, sagas: list[str]) -> QueuedEnvelope:
    """Return the envelope with the rows of these sagas only."""
    packs = [
        encode_pack(
            head,
            [encode_row(r._replace(data=orjson.dumps(r.data).decode())) for r in rows if r.saga in sagas],
        )
        for head, rows in read_packs(queued.envelope.body)
    ]
    return QueuedEnvelope(
        queued.to,
        queued.envelope._replace(body=encode_envelope(queued.envelope.topic, packs), signals=len(sagas)),
    )


def mine(racing: RacingSagas, column: str = "saga_id") -> str:
    return f" AND {column} IN ({','.join(repr(saga) for saga in racing.sagas)})"
