"""What the tests of the relay share: a saga, an outbox, a recording broker, and a running relay."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg2
import pytest

from ordersaga import Choreography, Saga, Signal
from ordersaga.claim import OutgoingEnvelope
from ordersaga.envelope import (
    PackHeader,
    SignalRow,
    encode_pack,
    encode_row,
    read_rows,
)
from ordersaga.ids import new_id
from ordersaga.relay import Relay
from tests.support.polling import eventually
from tests.support.postgres import Postgres
from tests.support.time_scale import scaled


class Begun(Signal):
    number: int
    text: str = ""


SAGA = Saga("toy", begins_with=Begun, initiator="desk", participants=["desk"], deadline=timedelta(minutes=1))


class RecordingBroker:
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


def execute(url: str, statement: str) -> None:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest, postgres: Postgres, database_templates: dict[str, str]) -> str:
    name = request.node.name.rpartition("/")[2].removesuffix(".py")
    url = postgres.create_database(name, "orders", database_templates["orders"])
    execute(url, "INSERT INTO ordersaga_participant (name) VALUES ('desk')")
    return url


@pytest.fixture
def url(database: str) -> str:
    """A database with an empty outbox."""
    execute(database, "DELETE FROM ordersaga_outbox")
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


def start_sagas(url: str, *numbers: int, together: bool = True) -> None:
    connection = psycopg2.connect(url)
    for part in [numbers] if together else [(n,) for n in numbers]:
        SAGA.start_many({new_id(): Begun(number=n) for n in part}, db=connection)
        connection.commit()
    connection.close()


def start_large_sagas(url: str, size: int, *numbers: int) -> None:
    """Start sagas in one transaction, each with a signal of ``size`` bytes that compress badly."""
    with psycopg2.connect(url) as connection:
        texts = {number: random.Random(number).randbytes(size // 2).hex() for number in numbers}
        SAGA.start_many({new_id(): Begun(number=n, text=text) for n, text in texts.items()}, db=connection)


def count_rows(url: str, kind: str = "said") -> int:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ordersaga_outbox WHERE kind = %s", [kind])
        return int(cursor.fetchall()[0][0])


def wait_until_asleep(woken: list[str]) -> int:
    """Return how often a relay has polled, once it sleeps."""
    seen = [-1]

    def still() -> bool:
        before, seen[0] = seen[0], len(woken)
        return before == seen[0]

    eventually(still, 10, "the relay sleeps")
    return seen[0]


@pytest.fixture
def run_relay(url: str) -> Iterator[Any]:
    """Starts a relay in a thread, and stops it at the end."""
    running: list[tuple[Relay, threading.Thread]] = []

    def run(broker: RecordingBroker, **options: Any) -> list[Exception]:
        errors: list[Exception] = []
        relay = Relay(url, "desk", broker, **options)
        thread = threading.Thread(target=relay.run, args=(lambda error, _: errors.append(error),))
        thread.start()
        running.append((relay, thread))
        return errors

    yield run
    for relay, _ in running:
        relay.stop()
    execute(url, "NOTIFY ordersaga_outbox")  # so that sleeping relays stop
    for _, thread in running:
        thread.join(timeout=scaled(10))
        assert not thread.is_alive()


def choreography_with_observer(*consumed: str) -> Choreography:
    """The part of a choreography that the relay reads: the observers, and the consumed topics."""
    whole = Choreography.__new__(Choreography)
    whole.observed, whole._consumed, whole.saga = True, set(consumed), SAGA
    return whole
