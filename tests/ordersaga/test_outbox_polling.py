"""Placing, steps and relays cost the same however many deleted outbox rows an old snapshot keeps visible, and
no late commit is missed.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg2
import pytest

from ordersaga import Saga, Signal
from ordersaga.claim import CLAIM_BYTES, CLAIM_ROWS, OutgoingEnvelope
from ordersaga.envelope import read_rows
from ordersaga.ids import new_id
from ordersaga.outbox import Outbox
from ordersaga.relay import Relay
from ordersaga.scan_bound import Poll, ScanBound
from ordersaga.sql import outbox as outbox_sql
from ordersaga.sql import saga as saga_sql
from tests.support.polling import eventually
from tests.support.postgres import Postgres

ORDERS = 300_000
SETTLED = """
INSERT INTO ordersaga_outbox (participant, topic, signals, payload, due_at)
SELECT 'desk', 'signal.Begun', 1, '', now() - make_interval(secs => 5 + n / 1000.0)
FROM generate_series(1, %(orders)s) AS n
"""
TIMERS = """
INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, saga_id, signals, payload, due_at)
SELECT 'desk', 'watchdog', 'watchdog', 'desk', gen_random_uuid(), 1, '',
    now() + make_interval(secs => n / 1000.0 - 150)
FROM generate_series(1, 300000, 3) AS n
"""
HELD = (
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND backend_xmin IS NOT NULL"
)


class Begun(Signal):
    number: int


SAGA = Saga("toy", begins_with=Begun, initiator="desk", participants=["desk"], deadline=timedelta(minutes=1))


class Broker:
    """Accepts every envelope."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def __call__(self, envelopes: Sequence[OutgoingEnvelope]) -> None:
        self.numbers += [
            row.data["number"] for p in envelopes if p.topic == "signal.Begun" for row in read_rows(p.body)
        ]


@pytest.fixture(scope="module")
def database(postgres: Postgres, database_templates: dict[str, str]) -> str:
    url = postgres.create_database("looks", "orders", database_templates["orders"])
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO ordersaga_participant (name) VALUES ('desk')")
    return url


@pytest.fixture
def url(database: str) -> Iterator[str]:
    yield database
    with psycopg2.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM ordersaga_outbox")


def explained(cursor: Any, statement: str, values: Any) -> dict[str, Any]:
    cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", values)
    [[[found]]] = cursor.fetchall()
    plan: dict[str, Any] = found["Plan"]
    return plan


def pages(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def test_deleted_rows_of_settled_orders_cost_nothing_under_a_snapshot(url: str) -> None:
    reader, writer = psycopg2.connect(url), psycopg2.connect(url)
    writer.autocommit = True
    relay = Relay(url, "desk", Broker())
    try:
        with reader.cursor() as old, writer.cursor() as cursor:
            cursor.execute("ALTER TABLE ordersaga_outbox SET (autovacuum_enabled = off)")
            for rows in (SETTLED, TIMERS):
                cursor.execute(rows, {"orders": ORDERS})
            reader.set_session(isolation_level="REPEATABLE READ")
            old.execute("SELECT count(*) FROM ordersaga_outbox")
            cursor.execute("DELETE FROM ordersaga_outbox")

            began = time.perf_counter()
            relay.drain()
            first = time.perf_counter() - began
            for _ in range(3):
                relay.drain()
            with relay._connect().cursor() as asking:
                look = pages(explained(asking, outbox_sql.DUE, relay._poll_values()))
                values = {
                    "observed": True,
                    "rows": CLAIM_ROWS,
                    "size": CLAIM_BYTES,
                    "first": 30.0,
                    "cap": 600.0,
                }
                asking.execute("BEGIN")
                execute = outbox_sql.CLAIM_PREPARED.removeprefix("BEGIN; ")
                claim = pages(explained(asking, execute, {**values, **relay._poll_values()}))
                asking.execute("ROLLBACK")

            start = pages(
                explained(cursor, saga_sql.START, SAGA._parameters({new_id(): Begun(number=1)}, None))
            )
            record = pages(explained(cursor, outbox_sql.record(1, 1), recording()))
            cursor.execute(HELD)
            assert cursor.fetchall() == [(1,)], "the old snapshot is still held"
            everything = outbox_sql.CLAIM.replace("FOR UPDATE SKIP LOCKED", "")
            whole = pages(explained(cursor, everything, {**values, "since": 0.0, "participant": "desk"}))
    finally:
        relay.close()
        reader.close()
        writer.close()
    assert whole > 5_000, "the deleted rows are there"
    assert {name: found for name, found in (("look", look), ("claim", claim)) if found > 30} == {}
    assert {name: found for name, found in (("placing", start), ("recording", record)) if found > 200} == {}
    assert first < 10


def recording() -> list[Any]:
    """Return the parameters of a statement that records one pack and one outbox row."""

    class Cursor:
        values: list[Any]

        def execute(self, _: str, values: list[Any]) -> None:
            self.values = values

    from ordersaga.envelope import PackHeader

    cursor, outbox = Cursor(), Outbox(PackHeader("desk", None, None, 1), notices=True)
    outbox.emit(new_id(), Begun(number=2))
    outbox.notice(new_id(), None, "complete")
    outbox.flush(cursor, 10**9)  # type: ignore[arg-type]
    return cursor.values


@pytest.fixture
def never_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disables full scans, which would hide rows that the bound misses."""
    monkeypatch.setattr(ScanBound, "FULL_SCAN_EVERY", 3600.0)


@pytest.mark.usefixtures("never_everything")
def test_signals_of_transactions_of_any_length_are_published(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScanBound, "PATIENCE", 0.3)
    monkeypatch.setattr(ScanBound, "MARGIN", 0.05)
    broker = Broker()
    relay = Relay(url, "desk", broker)
    thread = threading.Thread(target=relay.run, args=(lambda *_: None,))
    thread.start()
    chance = random.Random(13)

    def write(numbers: range, waits: list[float]) -> None:
        connection = psycopg2.connect(url)
        for number, wait in zip(numbers, waits, strict=True):
            SAGA.start(Begun(number=number), db=connection)
            time.sleep(wait)  # the duration of an open transaction
            connection.commit()
        connection.close()

    lengths = [[chance.choice([0.0, 0.0, 0.02, 0.1, 0.5]) for _ in range(25)], [1.2, 0.0, 1.5], [0.0] * 200]
    starts = [0, 100, 200]
    writers = [
        threading.Thread(target=write, args=(range(first, first + len(waits)), waits))
        for first, waits in zip(starts, lengths, strict=True)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    wanted = [first + n for first, waits in zip(starts, lengths, strict=True) for n in range(len(waits))]
    try:
        eventually(lambda: sorted(broker.numbers) == wanted, 10, "every signal published once")
    finally:
        relay.stop()
        thread.join(10)


@pytest.mark.usefixtures("never_everything")
def test_a_long_transactions_rows_are_found_when_it_ends(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScanBound, "PATIENCE", 0.0)
    monkeypatch.setattr(ScanBound, "MARGIN", 0.0)
    relay = Relay(url, "desk", broker := Broker())
    long, short = psycopg2.connect(url), psycopg2.connect(url)
    try:
        SAGA.start(Begun(number=1), db=long)
        for number in (2, 3, 4):
            SAGA.start(Begun(number=number), db=short)
            short.commit()
            eventually(relay.drain, 5, "rows committed meanwhile published")
        with long.cursor() as cursor:
            cursor.execute(
                "SELECT extract(epoch FROM due_at)::float8 FROM ordersaga_outbox WHERE kind = 'said'"
            )
            [(due,)] = cursor.fetchall()
        assert relay._bound.since > due, "the scans have gone past the row that is not committed"
        long.commit()
        eventually(lambda: relay.drain() or 1 in broker.numbers, 5, "the late row published")
    finally:
        relay.close()
        long.close()
        short.close()
    assert sorted(broker.numbers) == [1, 2, 3, 4]


def test_a_row_moved_back_in_time_is_found_by_a_full_scan() -> None:
    bound = ScanBound()
    assert bound.since == 0.0
    for at in (100.0, 101.0, 102.0):
        assert not bound.record(Poll(None, at, at, 5 + int(at), 6 + int(at)))
    assert bound.since == 101.0 - ScanBound.MARGIN
    bound._full_scan_at = 0.0
    assert bound.since == 0.0
    bound.record(Poll(50.0, 103.0, 103.0, 200, 201))
    assert bound.since == 50.0 - ScanBound.EPSILON, "until it is published"
