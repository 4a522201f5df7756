"""The embedded database is restarted, killed and reused."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import psycopg2
import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from ordersaga.embedded.server import SOCKET_LIMIT
from tests.ordersaga.pgmq.helpers import Peer, publish, size, tell, words
from tests.ordersaga.pgmq.peer import connect
from tests.support.embedded import BrokerDatabase, EmbeddedPostgres
from tests.support.janitor import janitor
from tests.support.polling import eventually
from webapp.ops import embedded


def test_a_worker_survives_a_restart_of_the_database(
    broker: BrokerDatabase, app: Celery, worker: Peer, tmp_path: Path
) -> None:
    log_file = tmp_path / "book"
    process = worker()
    tell(app, "peer.note", str(log_file), "before")
    eventually(lambda: "before done" in words(log_file), 10, "the first task")
    broker.postgres.stop()
    process.wait_for_log("Connection to broker lost")
    with pytest.raises((OperationalError, psycopg2.OperationalError)):
        app.send_task(
            "peer.note",
            [str(log_file), "lost"],
            exchange="ordersaga",
            routing_key="to.inventory",
            retry=False,
        )
    broker.postgres.start()
    tell(app, "peer.note", str(log_file), "after")
    eventually(lambda: "after done" in words(log_file), 40, "the task after the restart")
    assert process.alive
    assert process.terminate() == 0


def test_a_killed_server_restarts_with_all_published_messages(
    embedded_postgres: EmbeddedPostgres, broker: BrokerDatabase
) -> None:
    with connect(broker.url) as connection:
        for n in range(50):
            publish(connection, "", "inventory", n)
    os.kill(embedded_postgres.pid, signal.SIGKILL)
    embedded_postgres.start()
    with connect(broker.url) as connection:
        assert size(connection, "inventory") == 50


def test_a_second_start_reuses_the_running_server(embedded_postgres: EmbeddedPostgres) -> None:
    pid = embedded_postgres.pid
    assert embedded_postgres.start() == embedded_postgres.server
    assert embedded_postgres.pid == pid
    for name, url in embedded_postgres.server.urls.items():
        with (
            psycopg2.connect(url.replace("pgmq://", "postgresql://")) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(
                "SELECT current_user, current_setting('fsync'), current_setting('listen_addresses')"
            )
            assert cursor.fetchone() == (name, "on", "")


def test_a_long_data_path_uses_a_socket_elsewhere() -> None:
    data = janitor().folder("long") / ("x" * 80) / ("y" * 80) / "postgres"
    server = embedded.start(data)
    try:
        assert len(str(server.sockets)) < SOCKET_LIMIT - len("/.s.PGSQL.5432.lock")
        with psycopg2.connect(server.url("orders")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        embedded.stop(data)
        shutil.rmtree(server.sockets)
