"""Celery workers on ``pgmq://`` are stopped, killed and inspected."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
from celery import Celery
from kombu import Connection

from tests.ordersaga.pgmq.helpers import Peer, get, is_empty, tell, words
from tests.ordersaga.pgmq.peer import VISIBILITY
from tests.support.polling import eventually
from tests.support.time_scale import scaled


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_runs_tasks_and_stops_cleanly(
    connection: Connection, app: Celery, worker: Peer, tmp_path: Path, pool: str
) -> None:
    log_file = tmp_path / "log_file"
    process = worker(pool)
    for n in range(20):
        tell(app, "peer.note", str(log_file), f"quick{n}")
    tell(app, "peer.fail")
    eventually(lambda: len(words(log_file)) == 40, 20, "twenty tasks")
    assert get(connection, "inventory.dead").headers["x-first-death-reason"] == "rejected"
    is_empty(connection, "inventory")
    assert process.terminate() == 0


@pytest.mark.parametrize(("pool", "ending"), [("prefork", signal.SIGTERM), ("threads", signal.SIGINT)])
def test_a_stopping_worker_ends_its_task_and_requeues_the_rest(
    connection: Connection, app: Celery, worker: Peer, tmp_path: Path, pool: str, ending: int
) -> None:
    log_file = tmp_path / "log_file"
    process = worker(pool, "--prefetch-multiplier=4", concurrency=1)
    tell(app, "peer.note", str(log_file), "long", 3)
    eventually(lambda: words(log_file) == ["long begun"], 10, "the long task's beginning")
    tell(app, "peer.note", str(log_file), "later")
    process.send(ending)
    assert process.wait() == (1 if ending == signal.SIGINT else 0)  # Celery's own exit statuses
    assert words(log_file)[:2] == ["long begun", "long done"]
    worker(pool)
    eventually(lambda: words(log_file)[-1] == "later done", 10, "the other task, elsewhere")
    is_empty(connection, "inventory")
    assert words(log_file).count("long begun") == 1


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_task_longer_than_the_visibility_timeout_runs_once(
    connection: Connection, app: Celery, worker: Peer, tmp_path: Path, pool: str
) -> None:
    log_file = tmp_path / "log_file"
    worker(pool), worker(pool)
    tell(app, "peer.note", str(log_file), "long", 3 * VISIBILITY)
    eventually(lambda: "long done" in words(log_file), 4 * VISIBILITY + 5, "the long task's end")
    is_empty(connection, "inventory")
    assert words(log_file) == ["long begun", "long done"]


def test_another_worker_runs_the_task_of_a_killed_one(
    connection: Connection, app: Celery, worker: Peer, tmp_path: Path
) -> None:
    log_file = tmp_path / "book"
    first = worker()
    tell(app, "peer.note", str(log_file), "task", 3)
    eventually(lambda: words(log_file) == ["task begun"], 10, "the task's beginning")
    first.kill()
    worker("threads")
    eventually(
        lambda: words(log_file) == ["task begun", "task begun", "task done"],
        VISIBILITY + 10,
        "the second attempt",
    )
    is_empty(connection, "inventory")


def test_another_child_runs_the_task_of_a_stopped_one(
    connection: Connection, app: Celery, worker: Peer, tmp_path: Path
) -> None:
    """The parent lives and keeps the message invisible, so it must kill the child."""
    log_file = tmp_path / "book"
    process = worker("prefork", concurrency=1)
    tell(app, "peer.note", str(log_file), "task", 3)
    eventually(lambda: words(log_file) == ["task begun"], 10, "the task's beginning")
    assert process.pid is not None
    [child] = psutil.Process(process.pid).children()
    child.send_signal(signal.SIGSTOP)

    eventually(lambda: words(log_file) == ["task begun", "task begun", "task done"], 20, "the second attempt")
    assert not child.is_running()
    is_empty(connection, "inventory")


def test_workers_can_be_inspected_and_monitored(app: Celery, worker: Peer, tmp_path: Path) -> None:
    worker("prefork", "-E")
    worker("threads", "-E")
    began = time.monotonic()
    for _ in range(3):
        assert len(app.control.inspect(timeout=scaled(10), limit=2).ping() or {}) == 2
    assert time.monotonic() - began < scaled(5)
    seen: list[str] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": lambda event: seen.append(event["type"])})
        consumer = threading.Thread(
            target=receiver.capture, kwargs={"limit": None, "timeout": scaled(10)}, daemon=True
        )
        consumer.start()
        eventually(lambda: "worker-heartbeat" in seen, 10, "a sign of life")
        tell(app, "peer.note", str(tmp_path / "book"), "watched")
        eventually(lambda: {"task-started", "task-succeeded"} <= set(seen), 10, "the task's events")
        receiver.should_stop = True
        consumer.join(scaled(10))
