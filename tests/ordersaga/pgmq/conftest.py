"""Fixtures that run consumers and workers of the embedded broker as processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from celery import Celery
from kombu import Connection

from ordersaga.celery.pgmq import broker_settings, install
from tests.ordersaga.pgmq.helpers import Peer
from tests.ordersaga.pgmq.peer import VISIBILITY, connect
from tests.support.embedded import BrokerDatabase
from tests.support.processes import Process


@pytest.fixture
def connection(broker: BrokerDatabase) -> Iterator[Connection]:
    with connect(broker.url) as connection:
        yield connection


@pytest.fixture
def peer(broker: BrokerDatabase) -> Iterator[Peer]:
    """Starts a consumer process: ``peer("hold", "inventory")``."""
    started: list[Process] = []

    def start(mode: str, queue: str) -> Process:
        argv = [sys.executable, "-m", "tests.ordersaga.pgmq.peer", mode, queue]
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
    """Starts a Celery worker: ``worker("prefork")``."""
    started: list[Process] = []

    def start(pool: str = "prefork", *options: str, concurrency: int = 2) -> Process:
        argv = [sys.executable, "-m", "celery", "-A", "tests.ordersaga.pgmq.peer", "worker", "-l", "info"]
        argv += [
            "-P",
            pool,
            "-c",
            str(concurrency),
            "-n",
            f"w{len(started)}@test",
            "--without-gossip",
            "--without-mingle",
        ]
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
    """The peer's Celery application, as a client."""
    install()
    app = Celery("client", **broker_settings(broker.url, visibility_timeout=VISIBILITY))
    yield app
    app.close()
