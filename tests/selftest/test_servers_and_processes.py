"""Tests of the servers, proxies and processes that other tests use."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import amqp
import psutil
import psycopg2
import pytest

from tests.support import programs
from tests.support.janitor import janitor, marked
from tests.support.polling import eventually
from tests.support.postgres import Postgres
from tests.support.processes import ROOT, Process
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled


def publish(rabbitmq: RabbitMQ, vhost: str, queue: str) -> None:
    with rabbitmq.connect(vhost, confirm_publish=True) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
        channel.basic_publish(amqp.Message("hello", delivery_mode=2), routing_key=queue)


class TestPostgres:
    def test_postgres_is_durable_and_not_run_by_root(self, postgres: Postgres) -> None:
        with postgres.connect() as cursor:
            cursor.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
            assert cursor.fetchone() == ("on", "on")
        assert postgres.process.pid is not None
        assert psutil.Process(postgres.process.pid).uids().real != 0

    def test_a_copy_has_the_templates_rows_and_its_own_role(self, postgres: Postgres) -> None:
        for role in ("alice", "bob"):
            postgres.create_role(role)
        template = postgres.create_database("shape", "alice")
        connection = psycopg2.connect(template)
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE t AS SELECT 42 AS answer")
        connection.close()

        copy = postgres.create_database("copy", "alice", template="shape")

        connection = psycopg2.connect(copy)
        with connection.cursor() as cursor:
            cursor.execute("SELECT answer FROM t")
            assert cursor.fetchone() == (42,)
        connection.close()
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            psycopg2.connect(postgres.url("copy", "bob"))
        postgres.drop_databases("copy", "shape")

    def test_committed_rows_survive_kill_9(self, postgres: Postgres) -> None:
        with postgres.connect() as cursor:
            cursor.execute("CREATE TABLE survivor AS SELECT 1")
        postgres.kill()
        with pytest.raises(psycopg2.OperationalError), postgres.connect():
            pass
        postgres.start()
        with postgres.connect() as cursor:
            cursor.execute("DROP TABLE survivor")


class TestRabbitMQ:
    def test_a_vhost_is_created_and_deleted(self, rabbitmq: RabbitMQ, vhost: str) -> None:
        name = vhost.rpartition("/")[2]
        publish(rabbitmq, name, "letters")
        assert rabbitmq.queues(name)["letters"].ready == 1
        rabbitmq.delete_vhost(name)
        with pytest.raises(amqp.NotAllowed):
            publish(rabbitmq, name, "letters")

    def test_confirmed_messages_survive_kill_9(self, rabbitmq: RabbitMQ, vhost: str) -> None:
        name = vhost.rpartition("/")[2]
        publish(rabbitmq, name, "letters")
        rabbitmq.kill()
        rabbitmq.start()
        # The queue's Raft leader is elected only after the node has reported that it is ready.
        eventually(lambda: rabbitmq.queues(name)["letters"].ready == 1, 20, "the message")
        eventually(lambda: rabbitmq.unsettled(name) == {"letters": 1}, 5, "the message in the queue's report")


class TestProxy:
    def test_cut_ends_connections_and_refuse_blocks_new_ones(self, postgres: Postgres) -> None:
        with Proxy(postgres.port) as proxy:
            url = proxy.through(postgres.url("postgres", "test_owner"))
            connection = psycopg2.connect(url)
            assert proxy.connections == 1
            proxy.cut()
            with pytest.raises(psycopg2.OperationalError), connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            psycopg2.connect(url).close()
            proxy.refuse()
            with pytest.raises(psycopg2.OperationalError, match="refused"):
                psycopg2.connect(url)
            proxy.accept()
            psycopg2.connect(url).close()

    def test_delay_and_stall_hold_bytes_back_and_lose_none(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server, Proxy(server.getsockname()[1]) as proxy:
            client = socket.create_connection(("127.0.0.1", proxy.port))
            far, _ = server.accept()
            far.settimeout(scaled(5))
            proxy.delay(0.3)
            begin = time.monotonic()
            client.sendall(b"late")
            assert far.recv(100) == b"late"
            assert time.monotonic() - begin >= 0.3
            proxy.delay(0)
            proxy.stall()
            client.sendall(b"held")
            far.settimeout(0.3)
            with pytest.raises(TimeoutError):
                far.recv(100)
            proxy.flow()
            far.settimeout(scaled(5))
            assert far.recv(100) == b"held"
            client.close()
            far.close()


class TestProcesses:
    def test_kill_ends_children_in_other_process_groups_too(self) -> None:
        code = (
            "import subprocess, time\n"
            "subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
            "print('up', flush=True); time.sleep(600)"
        )
        process = Process("parent", [sys.executable, "-c", code]).start()
        process.wait_for_log("up")
        assert process.pid is not None
        children = psutil.Process(process.pid).children()
        process.kill()
        assert process.returncode == -9
        assert children
        assert not any(child.is_running() for child in children)

    def test_an_early_exit_raises_with_the_log(self) -> None:
        process = Process("early", [sys.executable, "-c", "print('last words'); raise SystemExit(3)"]).start()
        with pytest.raises(RuntimeError, match=r"ended with 3[\s\S]*last words"):
            process.wait_for_log("never logged")

    def test_a_run_that_is_killed_leaves_neither_processes_nor_folders(self) -> None:
        code = (
            "import time\n"
            "from tests.support.janitor import janitor\n"
            "from tests.support.processes import Process\n"
            "folder = janitor().folder('gone')\n"
            "Process('orphan', ['setsid', '--fork', 'sleep', '600'], log=folder / 'log').start()\n"
            "print(janitor().mark, folder, flush=True); time.sleep(600)"
        )
        victim = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert victim.stdout is not None
        mark, folder = victim.stdout.readline().split()
        eventually(lambda: [p for p in marked(mark) if p.name() == "sleep"], 5, "the orphan")
        victim.kill()
        victim.wait()
        victim.stdout.close()
        eventually(lambda: not marked(mark), 10, "no process left")
        eventually(lambda: not Path(folder).exists(), 10, "no folder left")

    @pytest.mark.usefixtures("rabbitmq")
    def test_every_process_of_this_run_carries_its_mark(self) -> None:
        names = {p.name() for p in marked(janitor().mark)}
        assert "epmd" in names
        assert "beam.smp" in names


class TestServices:
    def test_a_missing_browser_raises_with_a_remedy(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
        assert "chromium" in programs.missing()
        for name in ("chromium-browser", "google-chrome"):
            program = tmp_path / name
            program.write_text("")
            program.chmod(0o755)
            assert programs.chromium() == program
            assert "chromium" not in programs.missing()
            program.unlink()


class TestPolling:
    def test_a_timeout_names_the_condition_and_the_last_error(self) -> None:
        with pytest.raises(
            AssertionError, match=r"the kettle did not come about within 0\.\d+ s; last seen: 0"
        ):
            eventually(lambda: 0, 0.05, "the kettle")
