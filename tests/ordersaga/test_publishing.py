"""The broker refuses some rows of an outbox: all others are published, and no confirmed row twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import psycopg2
import pytest
from kombu import Connection

from ordersaga.celery import publisher as publishing
from ordersaga.celery import topology
from ordersaga.celery.app import configure_broker
from ordersaga.celery.publisher import Publisher
from ordersaga.claim import OutgoingEnvelope
from ordersaga.envelope import (
    MAX_BYTES,
    PackHeader,
    SignalRow,
    encode_pack,
    encode_row,
    join_packs,
    read_rows,
)
from ordersaga.errors import PublishFailed
from ordersaga.ids import new_id
from ordersaga.relay import Relay
from ordersaga.routing_key_backoff import RoutingKeyBackoff
from tests.support.amqp_client import KEYRING
from tests.support.polling import eventually
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled
from workers.choreography import choreography

TO_INVENTORY, TO_PAYMENTS = "signal.OrderPlaced", "signal.StockReserved"
HEAD = PackHeader("orders", None, None, 1)
INSERT = """
INSERT INTO ordersaga_outbox (participant, topic, signals, payload)
SELECT 'orders', %s, 1, payload FROM unnest(%s::text[]) AS payload RETURNING id
"""


def pack(number: int, padding: int = 0) -> str:
    data = f'{{"number":{number},"padding":"{"x" * padding}"}}'
    row = SignalRow(new_id(), new_id(), None, 1, "2026-01-01T00:00:00.000+00:00", 0, None, None, data)
    return encode_pack(HEAD, [encode_row(row)])


class RelayAndQueues:
    """An outbox, its queues, and the relay between them."""

    def __init__(self, url: str, rabbitmq: RabbitMQ, vhost: str, publisher: Publisher) -> None:
        self.url, self.rabbitmq, self.vhost, self.publisher = url, rabbitmq, vhost, publisher
        self.relay = Relay(url, "orders", publisher, connect=publisher.open)

    def rows(self, statement: str, *values: Any) -> list[Any]:
        with psycopg2.connect(self.url) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def owe(self, topic: str, *payloads: str) -> list[int]:
        return [row for (row,) in self.rows(INSERT, topic, list(payloads))]

    def owed(self) -> Counter[str]:
        return Counter(topic for (topic,) in self.rows("SELECT topic FROM ordersaga_outbox"))

    def drain(self) -> None:
        """Run rounds until one publishes nothing."""
        while self.relay.drain():
            pass

    def all_published(self) -> bool:
        """Return whether the outbox is empty after the rounds that publish."""
        self.drain()
        return not self.owed()

    def arrived(self, queue: str) -> list[int]:
        """Take all messages of a queue; return the numbers of their signals."""
        found: list[int] = []
        with self.rabbitmq.connect(self.vhost) as connection:
            channel = connection.channel()
            while (message := channel.basic_get(queue, no_ack=True)) is not None:
                body = message.body if isinstance(message.body, bytes) else message.body.encode()
                found += [row.data["number"] for row in read_rows(body)]
        return sorted(found)

    @contextmanager
    def full(self, queue: str) -> Iterator[None]:
        """Limit the queue to one message, so that it refuses more."""
        self.rabbitmq.set_policy(self.vhost, queue, {"max-length": 1, "overflow": "reject-publish"})
        try:
            yield
        finally:
            self.rabbitmq.delete_policy(self.vhost, queue)


@pytest.fixture(scope="module")
def database(postgres: Postgres, database_templates: dict[str, str]) -> str:
    return postgres.create_database("publishing", "orders", database_templates["orders"])


@pytest.fixture(scope="module")
def broker_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    yield rabbitmq.add_vhost("publishing")
    rabbitmq.ensure()
    rabbitmq.delete_vhost("publishing")


def publisher_at(url: str) -> Publisher:
    settings = configure_broker(url)
    connection = Connection(settings["broker_url"], transport_options=settings["broker_transport_options"])
    return Publisher(connection, choreography(), KEYRING)


@pytest.fixture
def setup(database: str, rabbitmq: RabbitMQ, broker_url: str) -> Iterator[RelayAndQueues]:
    publisher = publisher_at(broker_url)
    one = RelayAndQueues(database, rabbitmq, "publishing", publisher)
    one.rows("DELETE FROM ordersaga_outbox")
    publisher.open()
    yield one
    one.relay.close()
    publisher.close()
    for queue in ("inventory", "payments", "ordersaga.unheard"):
        one.arrived(queue)


def test_a_full_queue_delays_only_its_own_messages(
    setup: RelayAndQueues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RoutingKeyBackoff, "FIRST", 0.2)
    monkeypatch.setattr(RoutingKeyBackoff, "CAP", 0.4)
    sent: list[OutgoingEnvelope] = []
    publish = setup.relay._publish

    def noting(envelopes: Sequence[OutgoingEnvelope]) -> Any:
        sent.extend(envelopes)
        return publish(envelopes)

    setup.relay._publish = noting

    def refused() -> bool:
        setup.owe(TO_INVENTORY, pack(0))
        setup.drain()
        return bool(setup.relay.problem)

    with setup.full("inventory"):
        eventually(refused, 20, "the queue refuses")
        sent.clear()
        began = time.monotonic()
        setup.owe(TO_INVENTORY, *(pack(number) for number in range(1, 1001)))
        for number in range(10):
            setup.owe(TO_PAYMENTS, pack(number))
            setup.drain()

        def tried_twice() -> bool:
            setup.drain()
            tries = Counter(envelope.topic for envelope in sent)
            return tries[TO_INVENTORY] >= 2 and set(setup.owed()) == {TO_INVENTORY}

        eventually(tried_twice, 10, "the full address is tried again, and the other's signals leave")
        signals: Counter[str] = Counter()
        for envelope in sent:
            signals[envelope.topic] += envelope.signals
        envelopes = Counter(envelope.topic for envelope in sent)
        assert envelopes[TO_INVENTORY] <= 3 + (time.monotonic() - began) / 0.2, (
            "one envelope at a time, at intervals"
        )
        assert signals[TO_PAYMENTS] == 10, "what was confirmed is not sent again"
        assert setup.arrived("payments") == list(range(10))
        assert setup.owed()[TO_INVENTORY] >= 1000
        assert f"{TO_INVENTORY} is refused: a queue does not take it" in setup.relay.problem

    in_queue = setup.arrived("inventory")
    began = time.monotonic()
    eventually(setup.all_published, 20, "all rows to be published")
    assert time.monotonic() - began < 10
    assert setup.relay.problem == ""
    assert set(setup.arrived("inventory") + in_queue) == set(range(1001))


def test_a_queue_without_confirms_delays_no_other(
    setup: RelayAndQueues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "CONFIRM_SECONDS", scaled(3))
    monkeypatch.setattr(publishing, "RETRY_SECONDS", 0.3)
    name = f"{setup.vhost}_inventory"
    suspend = f"sys:suspend(whereis('{name}'))."
    setup.rabbitmq.ctl("eval", suspend)
    try:
        setup.owe(TO_INVENTORY, pack(1))
        setup.owe(TO_PAYMENTS, pack(2))
        setup.drain()
        assert setup.arrived("payments") == [2]
        assert setup.owed() == {TO_INVENTORY: 1}
        assert "did not confirm in time" in setup.relay.problem
        setup.owe(TO_PAYMENTS, pack(3))
        began = time.monotonic()
        setup.drain()
        assert setup.arrived("payments") == [3]
        assert time.monotonic() - began < scaled(3)
    finally:
        setup.rabbitmq.ctl("eval", suspend.replace("suspend", "resume"))
    eventually(setup.all_published, 15, "all rows to be published")
    assert set(setup.arrived("inventory")) == {1}


@pytest.mark.parametrize(
    ("topic", "payload", "fault"),
    [
        (TO_INVENTORY, "{]", "its payload is not a pack"),
        (TO_INVENTORY, '{"signals": []}', "its payload is not a pack"),
        (
            TO_INVENTORY,
            encode_pack(PackHeader("orders", None, None, 1), ["[1, 2]"]),
            "lacks a pack's participant or a signal's columns",
        ),
        (
            TO_INVENTORY,
            encode_pack(PackHeader("orders", None, None, 1), []),
            "holds 0 signals and its row counts 1",
        ),
        ("signal." + "x" * 300, pack(0), "more than 255 bytes"),
        (TO_INVENTORY, pack(0, MAX_BYTES), "over the limit of 8,388,608"),
    ],
    ids=[
        "no JSON",
        "no pack",
        "no row",
        "fewer signals than said",
        "an address too long",
        "too large for receivers",
    ],
)
def test_a_row_that_cannot_be_published_is_set_aside(
    topic: str, payload: str, fault: str, setup: RelayAndQueues, caplog: pytest.LogCaptureFixture
) -> None:
    setup.owe(TO_INVENTORY, pack(1))
    [bad] = setup.owe(topic, payload)
    setup.owe(TO_INVENTORY, pack(2))
    setup.drain()

    assert setup.arrived("inventory") == [1, 2]
    [(row, kept, refusals, later)] = setup.rows(
        "SELECT id, fault, refusals, due_at - clock_timestamp() > interval '0.3 s' FROM ordersaga_outbox"
    )
    assert (row, refusals, later) == (bad, 1, True)
    assert fault in kept
    assert f"outbox row {bad} cannot be published" in setup.relay.problem
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["outbox_row_refused"]


def test_an_envelope_that_closes_the_channel_is_found_among_others(setup: RelayAndQueues) -> None:
    user = setup.rabbitmq.add_user("limited", setup.vhost, topics={"ordersaga": f"^{TO_INVENTORY}$"})
    publisher = publisher_at(user)
    relay = Relay(setup.url, "orders", publisher, connect=publisher.open)
    setup.owe(TO_INVENTORY, pack(0))
    bad = setup.owe(TO_PAYMENTS, pack(1), pack(2))
    setup.owe(TO_INVENTORY, pack(3))
    eventually(lambda: relay.drain() or set(setup.owed()) == {TO_PAYMENTS}, 10, "the others leave")
    eventually(
        lambda: relay.drain() or "cannot be published" in relay.problem, 10, "the rows are tried alone"
    )
    relay.close()
    publisher.close()
    assert set(setup.arrived("inventory")) == {0, 3}
    faults = dict(setup.rows("SELECT id, fault FROM ordersaga_outbox"))
    assert list(faults) == bad
    assert all(
        "the broker closes the channel: AccessRefused: Basic.publish: (403)" in fault
        for fault in faults.values()
    )
    setup.rows("UPDATE ordersaga_outbox SET due_at = clock_timestamp()")
    setup.drain()
    assert setup.arrived("payments") == [1, 2], "a relay that may publish them carries them"


def test_confirmed_envelopes_are_finished_when_the_connection_is_lost(setup: RelayAndQueues) -> None:
    setup.owe(TO_INVENTORY, pack(1))
    setup.owe(TO_PAYMENTS, pack(2))
    publish = setup.relay._publish

    def lose(envelopes: Any) -> Any:
        refused = publish(envelopes[:1])
        raise PublishFailed("the connection is lost", envelopes[:1], refused or ())

    setup.relay._publish = lose
    with pytest.raises(PublishFailed):
        setup.relay.drain()
    assert setup.owed() == {TO_PAYMENTS: 1}
    assert setup.rows("SELECT fault FROM ordersaga_outbox") == [(None,)]
    setup.relay._publish = publish
    setup.drain()
    assert (setup.arrived("inventory"), setup.arrived("payments")) == ([1], [2])


def test_publishing_waits_once_for_the_confirms_of_a_claim(
    setup: RelayAndQueues, proxy: Callable[[int], Proxy]
) -> None:
    between = proxy(setup.rabbitmq.port)
    publisher = publisher_at(between.through(setup.rabbitmq.url(setup.vhost)))
    envelopes = [
        OutgoingEnvelope(new_id(), TO_PAYMENTS, None, 1, join_packs(TO_PAYMENTS, [pack(n).encode()]))
        for n in range(50)
    ]
    publisher.open()
    between.delay(0.05)
    began = time.monotonic()
    assert publisher(envelopes) == []
    took = time.monotonic() - began
    between.delay(0)
    publisher.close()
    assert setup.arrived("payments") == list(range(50))
    assert took < 1, "fifty round trips of 0.1 s each would take five"


def test_rows_are_not_claimed_while_the_broker_hangs(
    setup: RelayAndQueues, proxy: Callable[[int], Proxy]
) -> None:
    between = proxy(setup.rabbitmq.port)
    publisher = publisher_at(between.through(setup.rabbitmq.url(setup.vhost)))
    relay = Relay(setup.url, "orders", publisher, connect=publisher.open)
    [row] = setup.owe(TO_PAYMENTS, pack(1))
    declare = topology.declare

    def hang(*arguments: Any) -> None:
        between.stall()
        declare(*arguments)

    hanging = patch.multiple(publishing, declare=hang, OPEN_SECONDS=1.0)
    with hanging, pytest.raises(TimeoutError):
        relay.drain()
    locked = "SELECT id FROM ordersaga_outbox FOR UPDATE NOWAIT"
    assert setup.rows(locked) == [(row,)]
    between.flow()
    relay.drain()
    relay.close()
    publisher.close()
    assert setup.arrived("payments") == [1]


def test_a_memory_alarm_keeps_the_rows_and_is_reported(
    setup: RelayAndQueues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "CONFIRM_SECONDS", 5.0)
    setup.rabbitmq.ctl("set_vm_memory_high_watermark", "0.00001")
    try:
        setup.owe(TO_PAYMENTS, pack(1))
        for _ in range(2):
            with pytest.raises(PublishFailed, match="alarm"):
                setup.relay.drain()
        assert setup.owed() == {TO_PAYMENTS: 1}
        assert setup.rows("SELECT fault FROM ordersaga_outbox") == [(None,)]
    finally:
        setup.rabbitmq.ctl("set_vm_memory_high_watermark", "0.4")

    eventually(
        setup.all_published, 20, "the signal to be published after the alarm", ignoring=(PublishFailed,)
    )
    assert set(setup.arrived("payments")) == {1}


def test_a_vanished_relay_releases_its_rows(setup: RelayAndQueues) -> None:
    claimed, gone = threading.Event(), threading.Event()

    def vanish(_: Any) -> None:
        claimed.set()
        gone.wait(20)

    shorter = "options=-c%20idle_in_transaction_session_timeout%3D1s"  # a minute unless the address sets it
    ghost = Relay(f"{setup.url}{'&' if '?' in setup.url else '?'}{shorter}", "orders", vanish)

    def haunt() -> None:
        with pytest.raises(psycopg2.Error):
            ghost.drain()

    thread = threading.Thread(target=haunt)
    setup.owe(TO_PAYMENTS, pack(1))
    thread.start()
    try:
        assert claimed.wait(10)
        eventually(setup.all_published, 10, "another relay to publish it")
    finally:
        gone.set()
        thread.join(10)
    assert setup.arrived("payments") == [1]
