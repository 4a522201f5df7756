"""Private servers, and one run of a contestant on fresh databases and a fresh virtual host."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property

from benchmarks.contestants.registry import Contestant, Worker, module
from benchmarks.workload import Workload
from tests.support.databases import OWNERS, Databases, copies, drop, migrated_templates
from tests.support.embedded import EmbeddedPostgres
from tests.support.janitor import MARK, janitor
from tests.support.postgres import Postgres
from tests.support.processes import ROOT, Process
from tests.support.rabbitmq import RabbitMQ

_numbers = itertools.count(1)
POLL_SECONDS = 1.0
"""Seconds between two checks whether all orders have settled; the database's clock gives the end itself."""
NO_REMINDERS = {"ORDERSAGA_WATCHDOG": "3600", "ORDERSAGA_WATCHDOG_CAP": "3600", "ORDERSAGA_DEADLINE": "86400"}
"""No reminders and no expiry, as the benchmarks overload the machine on purpose."""


class Servers:
    """PostgreSQL and RabbitMQ, configured as in production; each starts when it is first used."""

    @cached_property
    def postgres(self) -> Postgres:
        """PostgreSQL with fsync and synchronous_commit on."""
        server = Postgres()
        server.start()
        return server

    @cached_property
    def templates(self) -> dict[str, str]:
        """Migrated, empty databases to copy."""
        return migrated_templates(self.postgres)

    @cached_property
    def rabbitmq(self) -> RabbitMQ:
        """A single RabbitMQ node."""
        node = RabbitMQ()
        node.start()
        return node

    def versions(self) -> dict[str, str]:
        with self.postgres.connect() as cursor:
            cursor.execute("SHOW server_version")
            [postgres] = cursor.fetchone()
        return {"postgresql": postgres, "rabbitmq": ".".join(map(str, self.rabbitmq.version))}

    def close(self) -> None:
        for name in ("rabbitmq", "postgres"):
            if name in self.__dict__:
                getattr(self, name).close() if name == "rabbitmq" else self.postgres.stop()


@dataclass
class Run:
    """Databases, broker and processes of one contestant, for one measurement.

    :ivar env: the environment of its processes.
    """

    contestant: Contestant
    workload: Workload
    databases: Databases
    env: dict[str, str]
    vhost: str
    servers: list[tuple[str, int]]
    pools: list[tuple[str, Process]] = field(default_factory=list)

    def start(self) -> None:
        """Start the processes, and wait until all are ready."""
        self._start(self.contestant.workers())

    def start_late_workers(self) -> None:
        """Start the processes of :meth:`Contestant.late_workers`."""
        self._start(self.contestant.late_workers())

    def _start(self, workers: Iterable[Worker]) -> None:
        for worker in workers:
            process = Process(worker.name, worker.argv, env={"PYTHONUNBUFFERED": "1", **self.env})
            process.start()
            self.pools.append((worker.kind, process))
        for _, process in self.pools:
            process.wait_for_log("ready.", 60)

    def stop(self) -> None:
        """Stop the processes by a warm shutdown: one TERM, since Celery takes a second for a cold one."""
        for _, process in self.pools:
            process.send(signal.SIGTERM)
        for _, process in self.pools:
            with suppress(AssertionError):  # the kill follows
                process.wait(20)
            process.kill()
        self.pools.clear()

    def placers(self, count: int, *, placers: int = 1, at_once: int = 1, rate: float = 0) -> Placers:
        """Create processes that place ``count`` orders in all."""
        return Placers(self, count, placers, at_once, rate)

    def prefill(self, orders: int) -> None:
        """Place orders before the pools start, 20 in a transaction, or a pack for the bare loop."""
        placers = self.placers(orders, at_once=400 if self.contestant.placer == "bare" else 20)
        placers.start()
        placers.wait(600)

    def process_roots(self) -> list[tuple[str, int]]:
        """Return kind and process id of all processes whose CPU time counts."""
        return [*((kind, process.pid) for kind, process in self.pools if process.pid), *self.servers]

    def wait_until_settled(self, timeout: float = 600) -> None:
        """Wait until every order has settled.

        :raises AssertionError: at the timeout.
        """
        until = time.monotonic() + timeout
        while not self.contestant.settled(self.databases):
            assert time.monotonic() < until, (
                f"{self.contestant.name}: orders are not settled after {timeout:.0f} s"
            )
            time.sleep(POLL_SECONDS)


class Placers:
    """Processes that place orders; all begin at :meth:`start`.

    :ivar cpu: the CPU seconds they used; set by :meth:`wait`.
    """

    def __init__(self, run: Run, count: int, placers: int, at_once: int, rate: float) -> None:
        env = {**os.environ, **run.env, MARK: janitor().mark}
        self.cpu = 0.0
        self._processes = []
        for seed in range(placers):
            share = ["--count", str(count // placers), "--rate", str(rate / placers), "--seed", str(seed)]
            argv = module("placing", run.contestant.placer, "--at-once", str(at_once), *share)
            argv += ["--workload", json.dumps(run.workload.options())]
            self._processes.append(
                subprocess.Popen(
                    argv, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready.\n", "a placer did not start"

    def start(self) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()

    def wait(self, timeout: float) -> None:
        """Wait until all orders are placed.

        :raises AssertionError: if a process failed.
        """
        until = time.monotonic() + timeout
        for process in self._processes:
            output, _ = process.communicate(timeout=max(0.1, until - time.monotonic()))
            assert process.returncode == 0, "a placer failed"
            self.cpu += float(output)


@contextmanager
def run_of(
    contestant: Contestant, servers: Servers, workload: Workload, existing: Databases | None = None
) -> Iterator[Run]:
    """Create fresh databases and a fresh virtual host for one contestant, and drop them at the end.

    :param existing: databases to use as they are, instead of fresh ones.
    """
    with ExitStack() as stack:
        if contestant.embedded:
            databases, broker, used = stack.enter_context(_embedded())
            vhost = ""
        else:
            databases = existing or copies(servers.postgres, dict(servers.templates))
            if existing is None:
                stack.callback(drop, servers.postgres, databases)
            vhost = f"bench-{next(_numbers)}"
            broker = servers.rabbitmq.add_vhost(vhost)
            stack.callback(servers.rabbitmq.delete_vhost, vhost)
            used = [
                ("postgres", servers.postgres.process.pid or 0),
                ("rabbitmq", servers.rabbitmq.process.pid or 0),
            ]
        if existing is None:
            contestant.prepare(databases)
            workload.create_data(databases)
        env = {
            **databases.env,
            **NO_REMINDERS,
            "ORDERSAGA_BROKER_URL": broker,
            "ORDERSAGA_ENV": "test",
            "ORDERSAGA_DOTENV": "",
        }
        run = Run(contestant, workload, databases, env, vhost, used)
        stack.callback(run.stop)
        yield run


@contextmanager
def _embedded() -> Iterator[tuple[Databases, str, list[tuple[str, int]]]]:
    postgres = EmbeddedPostgres()
    try:
        urls = postgres.server.urls
        databases = Databases(**{owner: urls[owner] for owner in OWNERS})
        command = [sys.executable, "manage.py", "migrate", "-v0"]
        subprocess.run(
            command, cwd=ROOT, env={**os.environ, **databases.env}, check=True, capture_output=True
        )
        yield databases, urls["broker"], [("postgres", postgres.pid)]
    finally:
        postgres.stop()
