"""The relay publishes due rows once they are committed, in full envelopes, and loses none."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest

from ordersaga import Choreography, Saga, Signal, Watchdog
from ordersaga.claim import OutgoingEnvelope, claim
from ordersaga.envelope import (
    FULL_BYTES,
    FULL_SIGNALS,
    MAX_BYTES,
    MAX_SIGNAL_BYTES,
    PackHeader,
    SignalRow,
    encode_pack,
    encode_row,
    read_rows,
)
from ordersaga.errors import SignalTooLarge
from ordersaga.ids import new_id
from ordersaga.journal import Journal
from ordersaga.outbox import WATCHDOG, Outbox, read_emitted
from ordersaga.relay import Relay
from ordersaga.sql.outbox import OBSERVERS
from tests.support.polling import eventually
from tests.support.postgres import Postgres
from tests.support.time_scale import scaled


class Begun(Signal):
    number: int
    text: str = ""


SAGA = Saga("toy", begins_with=Begun, initiator="desk", participants=["desk"], deadline=timedelta(minutes=1))


WAIT = """
SELECT ceil(extract(epoch FROM due_at - clock_timestamp()))::int
FROM ordersaga_outbox WHERE kind = 'watchdog'
"""


class Broker:
    """A list of published envelopes; publishing fails as often as the test sets."""

    def __init__(self, failures: int = 0) -> None:
        self.envelopes: list[OutgoingEnvelope] = []
        self.failures = failures

    def __call__(self, envelopes: Sequence[OutgoingEnvelope]) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the broker is away")
        self.envelopes += envelopes

    @property
    def numbers(self) -> list[int]:
        return [
            row.data["number"]
            for p in self.envelopes
            if p.topic == "signal.Begun"
            for row in read_rows(p.body)
        ]


def written(url: str, statement: str) -> None:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture(scope="module")
def database(postgres: Postgres, database_templates: dict[str, str]) -> str:
    url = postgres.create_database("relay", "orders", database_templates["orders"])
    written(url, "INSERT INTO ordersaga_participant (name) VALUES ('desk')")
    return url


@pytest.fixture
def url(database: str) -> str:
    """A database with an empty outbox."""
    written(database, "DELETE FROM ordersaga_outbox")
    return database


def insert_pack(url: str, topic: str, payload: str | None = None, recipient: str | None = None) -> int:
    """Insert a pack of one signal of number 7, or ``payload``; return the id of its row."""
    row = SignalRow(
        new_id(), new_id(), None, 1, "2026-01-01T00:00:00.000+00:00", 0, None, None, '{"number": 7}'
    )
    payload = (
        encode_pack(PackHeader("desk", None, None, 1), [encode_row(row)]) if payload is None else payload
    )
    columns = "INSERT INTO ordersaga_outbox (participant, topic, recipient, signals, payload)"
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"{columns} VALUES ('desk', %s, %s, 1, %s) RETURNING id", [topic, recipient, payload])
        return int(cursor.fetchall()[0][0])


def start(url: str, *numbers: int, together: bool = True) -> None:
    connection = psycopg2.connect(url)
    for part in [numbers] if together else [(n,) for n in numbers]:
        SAGA.start_many({new_id(): Begun(number=n) for n in part}, db=connection)
        connection.commit()
    connection.close()


def start_large(url: str, size: int, *numbers: int) -> None:
    """Start sagas in one transaction, each with a signal of ``size`` bytes that compress badly."""
    with psycopg2.connect(url) as connection:
        texts = {number: random.Random(number).randbytes(size // 2).hex() for number in numbers}
        SAGA.start_many({new_id(): Begun(number=n, text=text) for n, text in texts.items()}, db=connection)


def rows(url: str, kind: str = "said") -> int:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ordersaga_outbox WHERE kind = %s", [kind])
        return int(cursor.fetchall()[0][0])


def asleep(woken: list[str]) -> int:
    """Return how often a relay has polled, once it sleeps."""
    seen = [-1]

    def still() -> bool:
        before, seen[0] = seen[0], len(woken)
        return before == seen[0]

    eventually(still, 10, "the relay sleeps")
    return seen[0]


@pytest.fixture
def carried(url: str) -> Iterator[Any]:
    """Starts a relay in a thread, and stops it at the end."""
    running: list[tuple[Relay, threading.Thread]] = []

    def carry(broker: Broker, **options: Any) -> list[Exception]:
        errors: list[Exception] = []
        relay = Relay(url, "desk", broker, **options)
        thread = threading.Thread(target=relay.run, args=(lambda error, _: errors.append(error),))
        thread.start()
        running.append((relay, thread))
        return errors

    yield carry
    for relay, _ in running:
        relay.stop()
    written(url, "NOTIFY ordersaga_outbox")  # so that sleeping relays stop
    for _, thread in running:
        thread.join(timeout=scaled(10))
        assert not thread.is_alive()


def test_signals_of_many_transactions_leave_in_one_envelope(url: str) -> None:
    start(url, *range(50), together=False)
    broker = Broker()
    relay = Relay(url, "desk", broker)
    assert relay.drain() == 50
    assert len(broker.envelopes) == 1
    assert sorted(broker.numbers) == list(range(50))
    assert relay.drain() == 0
    relay.close()


def test_many_sagas_at_once_are_cut_into_full_envelopes(url: str) -> None:
    start(url, *range(1000))
    broker = Broker()
    relay = Relay(url, "desk", broker)
    relay.drain()
    relay.close()
    assert [p.signals for p in broker.envelopes] == [400, 400, 200]


def observed(*heard: str) -> Choreography:
    """The part of a choreography that the relay reads: the observers, and the consumed topics."""
    whole = Choreography.__new__(Choreography)
    whole.observed, whole._consumed, whole.saga = True, set(heard), SAGA
    return whole


def test_copies_for_observers_are_batched_by_the_second(url: str) -> None:
    start(url, *range(50), together=False)
    broker = Broker()
    relay = Relay(url, "desk", broker, choreography=observed("signal.Begun"))
    assert (relay.drain(), [p.routing_key for p in broker.envelopes]) == (50, ["signal.Begun"])
    start(url, *range(50, 60), together=False)

    def all_carried() -> bool:
        relay.drain()
        return rows(url) == 0

    eventually(all_carried, 5, "the second's end")
    relay.close()
    copies = [p.signals for p in broker.envelopes if p.routing_key == f"to.{OBSERVERS}"]
    assert (sum(copies), len(copies) <= 2) == (60, True)  # two, if a second ended in between
    assert sorted(broker.numbers) == sorted([*range(60), *range(60)])


def test_signals_for_observers_only_are_sent_to_them(url: str) -> None:
    start(url, 1)
    broker = Broker()
    relay = Relay(url, "desk", broker, choreography=observed())
    assert (relay.drain(), rows(url)) == (0, 1)
    eventually(relay.drain, 5, "the second's end")
    relay.close()
    assert [p.routing_key for p in broker.envelopes] == [f"to.{OBSERVERS}"]


def test_what_no_participant_consumes_is_not_published(url: str) -> None:
    """The broker would keep it as an unroutable message, and without an observer nothing would remove it."""
    start(url, 1)
    broker, whole = Broker(), observed()
    whole.observed = False
    relay = Relay(url, "desk", broker, choreography=whole)
    assert (relay.drain(), rows(url)) == (0, 0)
    relay.close()


def test_an_unconfirmed_row_stays_and_is_published_again(url: str) -> None:
    start(url, 1)
    broker = Broker(failures=1)
    relay = Relay(url, "desk", broker)
    with pytest.raises(ConnectionError):
        relay.drain()
    assert rows(url) == 1
    relay.drain()
    relay.close()
    assert (broker.numbers, rows(url)) == ([1], 0)


def test_a_crash_after_the_confirm_publishes_twice(url: str) -> None:
    start(url, 1)
    broker = Broker()
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        broker(claim(cursor, "desk").envelopes)
        connection.rollback()
    relay = Relay(url, "desk", broker)
    relay.drain()
    relay.close()
    assert broker.numbers == [1, 1]


def test_two_relays_share_an_outbox_and_send_nothing_twice(url: str, carried: Any) -> None:
    one, two = Broker(), Broker()
    carried(one)
    carried(two)
    start(url, *range(200), together=False)
    eventually(lambda: rows(url) == 0, 30, "the outbox is empty")
    eventually(lambda: len(one.numbers) + len(two.numbers) == 200, 10, "all are sent")
    assert sorted(one.numbers + two.numbers) == list(range(200))


def test_nothing_is_published_before_its_commit(url: str) -> None:
    connection = psycopg2.connect(url)
    SAGA.start(Begun(number=1), db=connection)
    relay = Relay(url, "desk", broker := Broker())
    assert relay.drain() == 0
    connection.rollback()
    connection.close()
    assert relay.drain() == 0
    relay.close()
    assert broker.envelopes == []


def test_a_sleeping_relay_wakes_on_notify_and_survives_no_broker(url: str, carried: Any) -> None:
    broker = Broker(failures=2)
    errors = carried(broker)
    start(url, 1)
    eventually(lambda: broker.numbers == [1], 30, "the signal is sent")
    assert len(errors) == 2
    assert rows(url, "deadline") == 1


@pytest.mark.parametrize("call", ["desk", ""], ids=["by its name", "by a release without names"])
def test_a_sleeping_relay_wakes_only_on_its_own_notify(
    call: str, url: str, carried: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Relay, "MAX_IDLE_SECONDS", 60.0)  # only a NOTIFY wakes it
    woken: list[str] = []
    carried(broker := Broker(), on_round=lambda: woken.append("turned"))
    start(url, 1)
    eventually(lambda: broker.numbers == [1], 10, "the first signal is sent")
    before = asleep(woken)
    insert_pack(url, "notice")
    written(url, "NOTIFY ordersaga_outbox, 'till'")
    eventually(lambda: len(woken) > before, 10, "a NOTIFY for another participant wakes it")
    asleep(woken)
    assert len(broker.envelopes) == 1, "it looked, though another was called"
    written(url, f"SELECT pg_notify('ordersaga_outbox', '{call}')")
    eventually(lambda: len(broker.envelopes) == 2, 10, "the call for it")


def test_rows_committed_while_a_relay_publishes_need_no_notify(
    url: str, carried: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Relay, "MAX_IDLE_SECONDS", 60.0)
    monkeypatch.setattr(Relay, "REPOLL_DELAYS", ())
    broker = Broker()

    def publish(envelopes: Sequence[OutgoingEnvelope]) -> None:
        if not broker.envelopes:
            start(url, 2)  # the first row is still pending, so there is no NOTIFY
        broker(envelopes)

    carried(publish)
    start(url, 1)
    eventually(lambda: broker.numbers == [1, 2], 10, "the second is found when the first is done")


def test_a_relay_survives_the_loss_of_its_connection(url: str, carried: Any) -> None:
    broker = Broker()
    carried(broker)
    start(url, 1)
    eventually(lambda: broker.numbers == [1], 30, "the first signal is sent")
    written(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'relay desk' AND datname = current_database()",
    )
    start(url, 2)
    eventually(lambda: broker.numbers == [1, 2], 30, "the second signal is sent")


def test_a_timer_is_sent_when_due_and_again_until_deleted(url: str) -> None:
    start(url, 1)
    due = "UPDATE ordersaga_outbox SET due_at = now() WHERE kind = 'deadline'"
    relay = Relay(url, "desk", broker := Broker())
    relay.drain()
    assert [p.topic for p in broker.envelopes] == ["signal.Begun"]
    for _ in range(2):
        written(url, due)
        relay.drain()
    relay.close()
    assert [(p.topic, p.routing_key) for p in broker.envelopes[1:]] == [
        ("signal.DeadlinePassed", "to.desk")
    ] * 2
    assert rows(url, "deadline") == 1


def test_a_timer_is_due_again_by_the_intervals_of_the_watchdog(url: str) -> None:
    start(url, 1)
    whole = observed("signal.Begun")
    whole.saga = replace(SAGA, watchdog=Watchdog(first=timedelta(seconds=3), cap=timedelta(seconds=10)))
    relay = Relay(url, "desk", Broker(), choreography=whole)
    waits = []
    for _ in range(4):
        written(url, "UPDATE ordersaga_outbox SET due_at = clock_timestamp() WHERE kind = 'watchdog'")
        relay.drain()
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(WAIT)
            waits += [wait for (wait,) in cursor.fetchall()]
    relay.close()
    assert waits == [3, 6, 10, 10], "seconds"


HELD = "UPDATE ordersaga_outbox SET due_at = clock_timestamp() WHERE kind = 'watchdog'"


def reminders(relay: Relay, broker: Broker, times: int, url: str) -> int:
    """Count the reminders that leave when the watchdog comes due ``times`` times."""
    before = len(broker.envelopes)
    for _ in range(times):
        written(url, HELD)
        relay.drain()
    return sum(envelope.topic == WATCHDOG for envelope in broker.envelopes[before:])


def test_a_reminder_waits_while_messages_wait_in_a_queue(url: str) -> None:
    start(url, 1)
    queued, stopped = [5], [False]
    relay = Relay(
        url,
        "desk",
        broker := Broker(),
        queue_depth=lambda: queued[0],
        has_unconsumed_queue=lambda: stopped[0],
    )
    relay.QUEUE_DEPTH_TTL = 0.0
    assert reminders(relay, broker, 2 * Relay.MAX_HELD_REMINDERS, url) == 0, "the queue does not change"
    queued[0] = 4
    assert reminders(relay, broker, 1, url) == 1, "the queue is consumed, and never empty"
    assert reminders(relay, broker, Relay.MAX_HELD_REMINDERS - 1, url) == Relay.MAX_HELD_REMINDERS - 1

    stopped[0] = True
    assert reminders(relay, broker, 5, url) == 0, "no consumer is connected"

    queued[0] = 0
    assert reminders(relay, broker, 1, url) == 1
    relay.close()


def test_a_claim_respects_its_byte_limit(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ordersaga.claim.CLAIM_BYTES", 1_000_000)
    monkeypatch.setattr("ordersaga.relay.CLAIM_BYTES", 1_000_000)
    for number in range(40):
        start_large(url, 100_000, number)
    relay, sizes, limits = Relay(url, "desk", broker := Broker()), [], []
    while relay.drain():
        sizes.append(sum(len(envelope.body) for envelope in broker.envelopes))
        limits.append(relay._limit)
        broker.envelopes.clear()
    relay.close()
    assert sum(sizes) > 4_000_000
    assert max(sizes) < 1_200_000
    assert limits[0] < 30, "the next claim locks few rows that it may not take"


def test_many_large_signals_are_cut_into_valid_envelopes(url: str) -> None:
    start_large(url, 30_000, *range(400))
    relay = Relay(url, "desk", broker := Broker())
    while relay.drain():
        pass
    relay.close()
    assert sorted(broker.numbers) == list(range(400))
    assert max(len(envelope.body) for envelope in broker.envelopes) <= 1.1 * FULL_BYTES
    assert {envelope.rows[0].payload.count('"participant"') for envelope in broker.envelopes} == {1}


def test_a_steps_signals_are_cut_into_packs_of_its_journal(url: str) -> None:
    sagas = sorted(new_id() for _ in range(50))
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        begun = Journal(cursor, "desk").begin("desk.step", sagas)
        outbox = Outbox(PackHeader("desk", "step", None, 1), notices=False)
        for number, saga in enumerate(sagas):
            outbox.emit(saga, Begun(number=number, text="x" * 50_000))
        outbox.flush(cursor, begun.pack_id)
        entries = Journal(cursor, "desk").read(sagas)
        packs = {entry.saga: [entry.pack_id] for entry in entries if entry.pack_id is not None}
        found = read_emitted(cursor, packs)
        cursor.execute(
            "SELECT max(octet_length(payload)) FROM ordersaga_pack WHERE id = ANY(%s)",
            [[p for [p] in packs.values()]],
        )
        [(largest,)] = cursor.fetchall()
    assert len({pack for [pack] in packs.values()}) == 3
    assert largest <= FULL_BYTES + 1000
    assert [[row.data["number"] for _, row in found[saga]] for saga in sagas] == [
        [number] for number in range(50)
    ]


def test_an_oversized_pack_of_an_old_release_is_cut_by_the_relay(url: str) -> None:
    def row(number: int) -> str:
        data = f'{{"number": {number}, "text": "{"x" * 30_000}"}}'
        return encode_row(
            SignalRow(new_id(), new_id(), None, 1, "2026-01-01T00:00:00.000+00:00", 0, None, None, data)
        )

    payload = encode_pack(PackHeader("desk", None, None, 1), [row(number) for number in range(400)])
    assert len(payload) > MAX_BYTES
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        insert = """
            INSERT INTO ordersaga_outbox (participant, topic, signals, payload)
            VALUES ('desk', 'signal.Begun', 400, %s)
        """
        cursor.execute(insert, [payload])
    relay = Relay(url, "desk", broker := Broker())
    relay.drain()
    relay.close()
    assert (sorted(broker.numbers), rows(url)) == (list(range(400)), 0)
    assert max(len(envelope.body) for envelope in broker.envelopes) <= 1.1 * FULL_BYTES


def test_a_signal_that_is_too_large_is_refused_when_it_is_emitted(url: str) -> None:
    connection = psycopg2.connect(url)
    try:
        with pytest.raises(
            SignalTooLarge, match=r"Begun has 3,\d+,\d+ bytes and a signal may have 3,145,728"
        ):
            SAGA.start(Begun(number=1, text="x" * MAX_SIGNAL_BYTES), db=connection)
        with pytest.raises(SignalTooLarge):
            SAGA.start(Begun(number=1, text="\N{SNOWMAN}" * (MAX_SIGNAL_BYTES // 3)), db=connection)
        SAGA.start(Begun(number=1, text="x" * (MAX_SIGNAL_BYTES - 1000)), db=connection)
        connection.commit()
    finally:
        connection.close()
    assert rows(url) == 1


def test_single_signals_leave_at_once_and_a_stream_is_gathered(
    url: str, carried: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # so that the signals of this test form a stream, however slowly they start
    monkeypatch.setattr(Relay, "STREAM", 0.1)
    monkeypatch.setattr(Relay, "BURST", 3)
    broker = Broker()
    carried(broker, linger=timedelta(seconds=3))
    for number in range(1, 5):
        start(url, number)
        eventually(lambda number=number: number in broker.numbers, 2, "a lone signal leaves at once")  # type: ignore[misc]
    start(url, 5)
    start(url, 6)
    eventually(lambda: len(broker.numbers) == 6, 10, "those of the stream")
    assert [envelope.signals for envelope in broker.envelopes] == [1, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("every", "packs", "gathers"),
    [(0.025, 1, False), (0.010, 1, True), (0.5, 50, True), (0.5, 5, False)],
    ids=["twenty orders a second", "a stream", "few rounds that carry much", "few rounds that carry little"],
)
def test_gathering_counts_packs_whatever_the_round_takes(
    every: float, packs: int, gathers: bool, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("ordersaga.leaky_bucket.time", SimpleNamespace(monotonic=lambda: now[0]))
    relay = Relay(url, "desk", Broker())
    result = []
    for _ in range(40):
        now[0] += every
        result.append(relay._should_linger([OutgoingEnvelope("", "signal.Begun", None, packs, b"", packs)]))
    assert result[-1] is gathers


def test_observer_signals_and_full_envelopes_are_not_gathered(url: str) -> None:
    relay = Relay(url, "desk", Broker())
    assert not relay._should_linger(
        [
            OutgoingEnvelope("", "signal.Begun", OBSERVERS, 90, b"", 90),
            OutgoingEnvelope("", "notice", None, 90, b"", 90),
        ]
    )
    assert not relay._should_linger([OutgoingEnvelope("", "signal.Begun", None, FULL_SIGNALS, b"", 90)])
    assert relay._should_linger([OutgoingEnvelope("", "signal.Begun", None, 90, b"", 90)])


def test_the_relay_gathers_while_the_workers_are_behind(url: str) -> None:
    waiting = [0]
    relay = Relay(url, "desk", Broker(), queue_depth=lambda: waiting[0])
    few = [OutgoingEnvelope("", "signal.Begun", None, 3, b"", 3)]
    relay._should_linger(few)
    assert not relay._should_linger(few)
    waiting[0], relay._query_at = Relay.BACKLOG_THRESHOLD, 0.0
    assert relay._should_linger(few)


def test_longer_queues_make_the_relay_gather_longer(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Relay, "QUEUE_DEPTH_TTL", 0.0)  # no answer is cached
    waiting = [0]
    relay = Relay(url, "desk", Broker(), linger=timedelta(milliseconds=25), queue_depth=lambda: waiting[0])
    pauses = []
    for waiting[0] in (0, 4, 1000):
        pauses.append(relay._pause())
    assert pauses == [0.025, pytest.approx(0.2), 1.0]
