"""``pgmq://`` keeps RabbitMQ's promises: between real processes, and when they are killed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from celery import Celery
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.exceptions import ChannelError, OperationalError

from ordersaga.celery.pgmq import broker_settings, extend_visibility, install
from ordersaga.celery.pgmq.names import MAX_LENGTH, table_name, topic_regex
from ordersaga.errors import ConfigurationError
from tests.engine.pgmq_peer import LIMIT, VISIBILITY, connect
from tests.support.embedded import BrokerDatabase, EmbeddedPostgres
from tests.support.janitor import janitor
from tests.support.polling import eventually
from tests.support.processes import Process
from webapp.ops import embedded

Peer = Callable[..., Process]


@pytest.fixture
def connection(broker: BrokerDatabase) -> Iterator[Connection]:
    with connect(broker.url) as connection:
        yield connection


@pytest.fixture
def peer(broker: BrokerDatabase) -> Iterator[Peer]:
    """Start a consumer in a process of its own: ``peer("hold", "inventory")``."""
    started: list[Process] = []

    def start(mode: str, queue: str) -> Process:
        argv = [sys.executable, "-m", "tests.engine.pgmq_peer", mode, queue]
        env = {"PEER_BROKER": broker.url, "PEER_VISIBILITY": str(VISIBILITY)}
        process = Process(f"peer-{mode}-{len(started)}-{broker.name}", argv, env=env).start()
        started.append(process)
        process.wait_for_log("ready")
        return process

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def worker(broker: BrokerDatabase) -> Iterator[Peer]:
    """Start a Celery worker: ``worker("prefork")``."""
    started: list[Process] = []

    def start(pool: str = "prefork", *options: str, concurrency: int = 2) -> Process:
        argv = [sys.executable, "-m", "celery", "-A", "tests.engine.pgmq_peer", "worker", "-l", "info"]
        argv += ["-P", pool, "-c", str(concurrency), "-n", f"w{len(started)}@test", "--without-gossip", "--without-mingle"]
        env = {"PEER_BROKER": broker.url, "PEER_VISIBILITY": str(VISIBILITY)}
        process = Process(f"worker-{len(started)}-{broker.name}", [*argv, *options], env=env).start()
        started.append(process)
        process.wait_for_log("ready.")
        return process

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def app(broker: BrokerDatabase) -> Iterator[Celery]:
    """The peer's application as a client sees it."""
    install()
    app = Celery("client", **broker_settings(broker.url, visibility_timeout=VISIBILITY))
    yield app
    app.close()


def publish(connection: Connection, exchange: str, key: str, n: int, **options: Any) -> None:
    Producer(connection.default_channel).publish({"n": n}, exchange=exchange, routing_key=key, **options)


def size(connection: Connection, queue: str) -> int:
    count: int = connection.default_channel.queue_declare(queue, passive=True).message_count
    return count


def get(connection: Connection, queue: str, timeout: float = 2 * VISIBILITY + 2) -> Any:
    return eventually(lambda: connection.default_channel.basic_get(queue), timeout, f"a message in {queue}")


def is_empty(connection: Connection, *queues: str) -> None:
    eventually(lambda: all(size(connection, queue) == 0 for queue in queues), 10, f"nothing left in {queues}")


def tell(app: Celery, task: str, *args: object) -> None:
    app.send_task(task, args, exchange="ordersaga", routing_key="to.inventory", declare=[])


def words(book: Path) -> list[str]:
    return book.read_text().splitlines() if book.exists() else []


# ---------------------------------------------------------------------------------------------------------- routing


def test_a_signal_reaches_every_queue_that_listens_in_whatever_process(connection: Connection, peer: Peer) -> None:
    inventory, payments = peer("settle", "inventory"), peer("settle", "payments")
    publish(connection, "ordersaga", "signal.OrderPlaced", 1)
    publish(connection, "ordersaga", "signal.StockReserved", 2)
    publish(connection, "ordersaga", "refusal.OutOfStock", 3)
    publish(connection, "ordersaga", "to.payments", 4)
    for n in (1, 3):
        inventory.wait_for_log(f"given {n} for the 1. time")
    for n in (2, 3, 4):
        payments.wait_for_log(f"given {n} for the 1. time")
    is_empty(connection, "inventory", "payments", "ordersaga.unheard")
    assert "given 2" not in inventory.logs()
    assert "given 1" not in payments.logs()


@pytest.mark.parametrize(
    ("pattern", "hears", "ignores"),
    [
        ("refusal.#", ["refusal", "refusal.a", "refusal.a.b"], ["refusals", "a.refusal"]),
        ("*.placed", ["order.placed"], ["placed", "a.order.placed", "orderXplaced"]),
        ("#", ["", "a", "a.b"], []),
        ("a.#.z", ["a.z", "a.b.z", "a.b.c.z"], ["a", "z", "a.zz"]),
        ("a.b", ["a.b"], ["a.b.c", "a.c", "aXb"]),
        ("celery@host-1 x", ["celery@host-1 x"], ["celery@host"]),
    ],
)
def test_a_pattern_means_what_it_means_in_amqp(
    connection: Connection, pattern: str, hears: list[str], ignores: list[str]
) -> None:
    channel = connection.default_channel
    queue = Queue("listener", Exchange("topics", type="topic"), routing_key=pattern)(channel)
    queue.declare()
    for key in hears + ignores:
        publish(connection, "topics", key, 1)
    assert size(connection, "listener") == len(hears)


def test_a_direct_exchange_is_known_to_a_process_that_declared_nothing(broker: BrokerDatabase, peer: Peer) -> None:
    consumer = peer("settle", "payments.dead")
    settings = broker_settings(broker.url)
    with Connection(settings["broker_url"], transport_options=settings["broker_transport_options"]) as stranger:
        publish(stranger, "ordersaga.dead", "payments", 7)
        consumer.wait_for_log("given 7 for the 1. time")
        publish(stranger, "", "payments.dead", 8)
        consumer.wait_for_log("given 8 for the 1. time")


def test_a_queue_that_two_patterns_match_hears_once(connection: Connection) -> None:
    connection.default_channel.queue_bind("inventory", "ordersaga", "signal.#")
    publish(connection, "ordersaga", "signal.OrderPlaced", 1)
    assert size(connection, "inventory") == 1


def test_what_nobody_hears_goes_to_the_alternate_exchange(connection: Connection) -> None:
    publish(connection, "ordersaga", "signal.Unknown", 1)
    message = get(connection, "ordersaga.unheard")
    assert message.payload == {"n": 1}
    assert message.delivery_info["routing_key"] == "signal.Unknown"


def test_a_mandatory_message_that_nobody_hears_is_an_error(connection: Connection) -> None:
    publish(connection, "ordersaga.dead", "nobody", 1)
    with pytest.raises(ChannelError, match="NO_ROUTE"):
        publish(connection, "ordersaga.dead", "nobody", 1, mandatory=True)


def test_an_unknown_exchange_and_a_changed_kind_are_errors(connection: Connection) -> None:
    with pytest.raises(ChannelError, match="NOT_FOUND"):
        publish(connection, "nowhere", "x", 1)
    with pytest.raises(ChannelError, match="PRECONDITION_FAILED"):
        connection.default_channel.exchange_declare("ordersaga", "direct")


def test_a_declaration_without_arguments_leaves_what_is_known(connection: Connection, broker: BrokerDatabase) -> None:
    connection.default_channel.queue_declare("inventory")
    connection.default_channel.exchange_declare("ordersaga", "topic")
    row = broker.ask("SELECT delivery_limit, dead_exchange, dead_key FROM ordersaga_broker.queue WHERE name = 'inventory'")
    assert row == [(LIMIT, "ordersaga.dead", "inventory")]
    assert broker.ask("SELECT alternate FROM ordersaga_broker.exchange WHERE name = 'ordersaga'") == [("ordersaga.unheard",)]


def test_ten_processes_may_install_and_declare_at_once(broker: BrokerDatabase) -> None:
    failures: list[BaseException] = []

    def declare() -> None:
        try:
            connect(broker.url).release()
        except BaseException as error:  # noqa: BLE001 - told by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=declare) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# -------------------------------------------------------------------------------------------------- names and bodies


def test_long_and_punctuated_names_stay_apart_and_stay_the_same() -> None:
    long = "a" * 200
    names = ["a.b", "a_b", "a-b", "A_b", "a_B", long, long + "b"]
    tables = {table_name(name) for name in names}
    assert len(tables) == len(names)
    assert all(len(table) <= MAX_LENGTH for table in tables)
    assert table_name(long) == table_name(long)
    assert table_name("inventory") == "inventory"
    assert topic_regex("plain.key") is None


def test_a_queue_with_a_long_name_carries_messages(connection: Connection) -> None:
    name = "3c9cfc2e-1ef6-3ecb-a9c8-0e6b1b6f2f8b.reply.celery.pidbox.and.more"
    connection.default_channel.queue_declare(name)
    publish(connection, "", name, 1)
    assert get(connection, name).payload == {"n": 1}


def test_a_body_of_five_megabytes_and_its_headers_arrive_untouched(connection: Connection) -> None:
    body = os.urandom(5_000_000)
    headers = {"compression": "application/x-gzip", "trace": "é\\u0000"}
    Producer(connection.default_channel).publish(
        body, exchange="", routing_key="inventory", headers=headers, content_type="application/data", content_encoding="binary"
    )
    message = get(connection, "inventory")
    assert message.body == body
    assert headers.items() <= message.headers.items()


# ---------------------------------------------------------------------------------------- taking and acknowledging


def test_what_is_acknowledged_is_gone(connection: Connection) -> None:
    publish(connection, "", "inventory", 1)
    get(connection, "inventory").ack()
    assert size(connection, "inventory") == 0


def test_the_delivery_count_counts(connection: Connection) -> None:
    publish(connection, "", "inventory", 1)
    for count in range(LIMIT):
        message = get(connection, "inventory")
        assert message.headers["x-delivery-count"] == count
        assert message.delivery_info["redelivered"] is (count > 0)
        message.requeue()


def test_what_a_killed_consumer_had_in_hand_comes_back(connection: Connection, peer: Peer) -> None:
    publish(connection, "", "inventory", 1)
    first = peer("hold", "inventory")
    first.wait_for_log("given 1 for the 1. time")
    first.kill()
    second = peer("settle", "inventory")
    second.wait_for_log("given 1 for the 2. time", VISIBILITY + 5)
    is_empty(connection, "inventory")


def test_what_a_living_consumer_keeps_is_given_to_nobody_else(connection: Connection, peer: Peer) -> None:
    publish(connection, "", "inventory", 1)
    keeper = peer("keep", "inventory")
    keeper.wait_for_log("given 1 for the 1. time")
    rival = peer("settle", "inventory")
    for n in range(2, 5):  # three visibility timeouts pass, each seen in the queue's own clock
        publish(connection, "", "inventory", n, DelaySeconds=VISIBILITY * (n - 1))
    eventually(lambda: "given 4" in keeper.logs() + rival.logs(), 4 * VISIBILITY + 5, "the last of the delayed")
    assert "given 1" not in rival.logs()
    assert "2. time" not in keeper.logs() + rival.logs()
    keeper.kill()
    rival.wait_for_log("given 1 for the 2. time", VISIBILITY + 5)


def test_what_was_lost_to_another_consumer_is_neither_kept_nor_given_back(broker: BrokerDatabase) -> None:
    with connect(broker.url, visibility=1) as slow, connect(broker.url, visibility=60) as quick:
        publish(slow, "", "inventory", 1)
        lost = get(slow, "inventory")
        mine = get(quick, "inventory")
        assert extend_visibility(lost.channel) == 0
        lost.reject()
        assert extend_visibility(mine.channel) == 1
        assert size(quick, "inventory") == 1
        assert size(quick, "inventory.dead") == 0


def test_a_channel_that_closes_gives_back_at_once(connection: Connection) -> None:
    publish(connection, "", "inventory", 1)
    channel = connection.channel()
    assert channel.basic_get("inventory") is not None
    channel.close()
    assert get(connection, "inventory", 0.5).headers["x-delivery-count"] == 1


def test_copies_of_one_message_are_acknowledged_apart(connection: Connection) -> None:
    publish(connection, "ordersaga", "refusal.OutOfStock", 1)
    first, second = get(connection, "inventory"), get(connection, "payments")
    assert first.delivery_tag != second.delivery_tag
    first.ack()
    assert (size(connection, "inventory"), size(connection, "payments")) == (0, 1)


def test_the_prefetch_is_kept_and_a_free_slot_is_used_at_once(connection: Connection) -> None:
    for n in range(20):
        publish(connection, "", "inventory", n)
    channel = connection.channel()
    channel.basic_qos(0, 2, False)
    in_hand: list[Any] = []
    with Consumer(channel, [Queue("inventory", no_declare=True)], on_message=in_hand.append):
        connection.drain_events(timeout=5)
        for _ in range(18):
            assert len(in_hand) == 2
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.01)
            thread = threading.Timer(0.005, in_hand.pop(0).ack)  # as a pool's thread does it
            thread.start()
            connection.drain_events(timeout=0.5)  # less than the polling interval: the bell was rung
            thread.join()


# ------------------------------------------------------------------------------------------------------ dead letters


def test_what_is_rejected_goes_to_the_dead_letters(connection: Connection) -> None:
    publish(connection, "ordersaga", "signal.OrderPlaced", 1, headers={"kept": "yes"})
    get(connection, "inventory").reject()
    message = get(connection, "inventory.dead")
    assert message.payload == {"n": 1}
    assert message.headers["kept"] == "yes"
    assert message.headers["x-first-death-queue"] == "inventory"
    assert message.headers["x-first-death-reason"] == "rejected"
    assert message.headers["x-first-death-exchange"] == "ordersaga"
    assert message.headers["x-death"][0]["routing-keys"] == ["signal.OrderPlaced"]
    assert size(connection, "inventory") == 0


def test_what_is_given_back_too_often_goes_to_the_dead_letters(connection: Connection) -> None:
    publish(connection, "", "inventory", 1)
    for _ in range(LIMIT + 1):
        get(connection, "inventory").requeue()
    message = get(connection, "inventory.dead")
    assert message.headers["x-first-death-reason"] == "delivery_limit"
    assert size(connection, "inventory") == 0


def test_what_kills_every_consumer_goes_to_the_dead_letters(connection: Connection, broker: BrokerDatabase, peer: Peer) -> None:
    publish(connection, "", "inventory", 1)
    publish(connection, "", "inventory", 2, DelaySeconds=3600)  # one that nobody was given
    get(connection, "inventory")
    table = f"pgmq.q_{table_name('inventory')}"
    broker.ask(f"UPDATE {table} SET read_ct = {LIMIT + 1}, vt = now() WHERE read_ct > 0 RETURNING 1")
    survivor = peer("settle", "inventory")
    message = get(connection, "inventory.dead")
    assert message.headers["x-first-death-reason"] == "delivery_limit"
    assert "given" not in survivor.logs()
    assert size(connection, "inventory") == 1


def test_a_dead_letter_that_nobody_hears_is_kept(connection: Connection) -> None:
    connection.default_channel.queue_delete("inventory.dead")
    publish(connection, "", "inventory", 1)
    get(connection, "inventory").reject()
    assert size(connection, "inventory") == 1


def test_a_rejected_message_of_a_queue_without_dead_letters_is_gone(connection: Connection) -> None:
    publish(connection, "ordersaga", "signal.Unknown", 1)
    get(connection, "ordersaga.unheard").reject()
    assert size(connection, "ordersaga.unheard") == 0


# -------------------------------------------------------------------------------------------------- transient queues


def test_a_transient_queue_ends_with_its_consumer(connection: Connection, broker: BrokerDatabase) -> None:
    events = Queue("events.of.a.monitor", Exchange("celeryev", type="topic"), "#", auto_delete=True, expires=60)
    with Connection(connection.as_uri(), transport_options=connection.transport_options) as other:
        with Consumer(other.channel(), [events], callbacks=[lambda *_: None]):
            publish(connection, "celeryev", "worker.online", 1)
            assert broker.ask("SELECT 1 FROM ordersaga_broker.queue WHERE transient") == [(1,)]
        assert broker.ask("SELECT 1 FROM ordersaga_broker.queue WHERE transient") == []
    publish(connection, "celeryev", "worker.online", 2)


def test_a_killed_monitors_queue_is_swept_away_and_a_living_ones_is_not(connection: Connection, broker: BrokerDatabase) -> None:
    channel = connection.channel()
    living = Queue("living", Exchange("celeryev", type="topic"), "#", auto_delete=True)
    with Consumer(channel, [living], callbacks=[lambda *_: None]):
        channel.queue_declare("orphan", auto_delete=True)
        broker.ask("UPDATE ordersaga_broker.queue SET declared_at = now() - interval '2 minutes' RETURNING 1")
        connection.channel().queue_declare("newcomer", auto_delete=True)
        names = broker.ask("SELECT name FROM ordersaga_broker.queue WHERE transient ORDER BY 1")
        assert names == [("living",), ("newcomer",)]


# ------------------------------------------------------------------------------------------------------------ Celery


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_runs_tasks_and_stops_cleanly(
    connection: Connection, app: Celery, worker: Peer, tmp_path: Path, pool: str
) -> None:
    book = tmp_path / "book"
    process = worker(pool)
    for n in range(20):
        tell(app, "peer.note", str(book), f"quick{n}")
    tell(app, "peer.fail")
    eventually(lambda: len(words(book)) == 40, 20, "twenty tasks")
    assert get(connection, "inventory.dead").headers["x-first-death-reason"] == "rejected"
    is_empty(connection, "inventory")
    assert process.terminate() == 0


@pytest.mark.parametrize(("pool", "ending"), [("prefork", signal.SIGTERM), ("threads", signal.SIGINT)])
def test_a_worker_told_to_stop_ends_its_task_and_gives_back_the_rest(
    connection: Connection, app: Celery, worker: Peer, tmp_path: Path, pool: str, ending: int
) -> None:
    book = tmp_path / "book"
    process = worker(pool, "--prefetch-multiplier=4", concurrency=1)
    tell(app, "peer.note", str(book), "long", 3)
    eventually(lambda: words(book) == ["long begun"], 10, "the long task's beginning")
    tell(app, "peer.note", str(book), "later")
    process.send(ending)
    assert process.wait() == (1 if ending == signal.SIGINT else 0)  # Celery's own statuses
    assert words(book)[:2] == ["long begun", "long done"]
    worker(pool)
    eventually(lambda: words(book)[-1] == "later done", 10, "the other task, elsewhere")
    is_empty(connection, "inventory")
    assert words(book).count("long begun") == 1


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_task_longer_than_the_visibility_timeout_runs_once(
    connection: Connection, app: Celery, worker: Peer, tmp_path: Path, pool: str
) -> None:
    book = tmp_path / "book"
    worker(pool), worker(pool)
    tell(app, "peer.note", str(book), "long", 3 * VISIBILITY)
    eventually(lambda: "long done" in words(book), 4 * VISIBILITY + 5, "the long task's end")
    is_empty(connection, "inventory")
    assert words(book) == ["long begun", "long done"]


def test_a_killed_workers_task_is_done_by_another(connection: Connection, app: Celery, worker: Peer, tmp_path: Path) -> None:
    book = tmp_path / "book"
    first = worker()
    tell(app, "peer.note", str(book), "task", 3)
    eventually(lambda: words(book) == ["task begun"], 10, "the task's beginning")
    first.kill()
    worker("threads")
    eventually(lambda: words(book) == ["task begun", "task begun", "task done"], VISIBILITY + 10, "the second attempt")
    is_empty(connection, "inventory")


def test_workers_are_inspected_and_watched(app: Celery, worker: Peer, tmp_path: Path) -> None:
    worker("prefork", "-E")
    worker("threads", "-E")
    began = time.monotonic()
    for _ in range(3):
        assert len(app.control.inspect(timeout=10, limit=2).ping() or {}) == 2
    assert time.monotonic() - began < 5
    seen: list[str] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": lambda event: seen.append(event["type"])})
        consumer = threading.Thread(target=receiver.capture, kwargs={"limit": None, "timeout": 10}, daemon=True)
        consumer.start()
        eventually(lambda: "worker-heartbeat" in seen, 10, "a sign of life")
        tell(app, "peer.note", str(tmp_path / "book"), "watched")
        eventually(lambda: {"task-started", "task-succeeded"} <= set(seen), 10, "the task's events")
        receiver.should_stop = True
        consumer.join(10)


# -------------------------------------------------------------------------------------------------- the database away


def test_a_worker_survives_a_restart_of_the_database(broker: BrokerDatabase, app: Celery, worker: Peer, tmp_path: Path) -> None:
    book = tmp_path / "book"
    process = worker()
    tell(app, "peer.note", str(book), "before")
    eventually(lambda: "before done" in words(book), 10, "the first task")
    broker.postgres.stop()
    process.wait_for_log("Connection to broker lost")
    with pytest.raises((OperationalError, psycopg2.OperationalError)):
        app.send_task("peer.note", [str(book), "lost"], exchange="ordersaga", routing_key="to.inventory", retry=False)
    broker.postgres.start()
    tell(app, "peer.note", str(book), "after")
    eventually(lambda: "after done" in words(book), 40, "the task after the restart")
    assert process.alive
    assert process.terminate() == 0


def test_a_server_killed_in_the_middle_starts_again_with_what_was_published(
    embedded_postgres: EmbeddedPostgres, broker: BrokerDatabase
) -> None:
    with connect(broker.url) as connection:
        for n in range(50):
            publish(connection, "", "inventory", n)
    os.kill(embedded_postgres.pid, signal.SIGKILL)
    embedded_postgres.start()
    with connect(broker.url) as connection:
        assert size(connection, "inventory") == 50


def test_a_second_start_finds_the_running_server(embedded_postgres: EmbeddedPostgres) -> None:
    pid = embedded_postgres.pid
    assert embedded_postgres.start() == embedded_postgres.server
    assert embedded_postgres.pid == pid
    for name, url in embedded_postgres.server.urls.items():
        with psycopg2.connect(url.replace("pgmq://", "postgresql://")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT current_user, current_setting('fsync'), current_setting('listen_addresses')")
            assert cursor.fetchone() == (name, "on", "")


def test_data_at_the_end_of_a_long_path_has_its_socket_elsewhere() -> None:
    data = janitor().folder("long") / ("x" * 80) / ("y" * 80) / "postgres"
    server = embedded.start(data)
    try:
        assert len(str(server.sockets)) < embedded.SOCKET_LIMIT - len("/.s.PGSQL.5432.lock")
        with psycopg2.connect(server.url("orders")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        embedded.stop(data)
        shutil.rmtree(server.sockets)


# ---------------------------------------------------------------------------------------------------------- settings


def test_settings_keep_the_password_where_celery_masks_it() -> None:
    settings = broker_settings("pgmq://me:s%40cret@db.example:6000/broker?sslmode=require", visibility_timeout=60)
    assert settings["broker_url"] == "pgmq://me:s%40cret@db.example:6000/broker"
    assert settings["broker_transport_options"]["visibility_timeout"] == 60
    conninfo = settings["broker_transport_options"]["conn_string"]
    assert "sslmode=require" in conninfo
    assert "cret" not in conninfo


@pytest.mark.parametrize("url", ["amqp://guest@localhost//", "pgmq://me@host", "postgresql://me@host/db"])
def test_another_brokers_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="BROKER"):
        broker_settings(url)
