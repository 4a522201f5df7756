"""Private servers, and one run of one contestant on fresh databases and a fresh virtual host."""

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
from benchmarks.workload import Trade
from tests.support.databases import OWNERS, Databases, copies, drop, migrated_templates
from tests.support.embedded import EmbeddedPostgres
from tests.support.janitor import MARK, janitor
from tests.support.postgres import Postgres
from tests.support.processes import ROOT, Process
from tests.support.rabbitmq import RabbitMQ

_numbers = itertools.count(1)
LOOK = 1.0
"""Seconds between two looks whether all are settled; the databases' clocks tell when the last order ended."""
QUIET = {"ORDERSAGA_WATCHDOG": "3600", "ORDERSAGA_WATCHDOG_CAP": "3600", "ORDERSAGA_DEADLINE": "86400"}
"""A machine that is made busy on purpose is no reason to remind or expire."""


class Servers:
    """PostgreSQL and RabbitMQ as production has them, and the embedded default; each started when it is first
    asked for.
    """

    @cached_property
    def postgres(self) -> Postgres:
        """Durable: fsync and synchronous_commit are on."""
        server = Postgres()
        server.start()
        return server

    @cached_property
    def templates(self) -> dict[str, str]:
        """Migrated and empty."""
        return migrated_templates(self.postgres)

    @cached_property
    def rabbitmq(self) -> RabbitMQ:
        """One node."""
        node = RabbitMQ()
        node.start()
        return node

    def versions(self) -> dict[str, str]:
        """Of both servers."""
        with self.postgres.connect() as cursor:
            cursor.execute("SHOW server_version")
            [postgres] = cursor.fetchone()
        return {"postgresql": postgres, "rabbitmq": ".".join(map(str, self.rabbitmq.version))}

    def close(self) -> None:
        """Stop what was started."""
        for name in ("rabbitmq", "postgres"):
            if name in self.__dict__:
                getattr(self, name).close() if name == "rabbitmq" else self.postgres.stop()


@dataclass
class Run:
    """Databases, broker and processes of one contestant, for one measurement.

    :ivar env: what its processes find in their environment.
    """

    contestant: Contestant
    trade: Trade
    databases: Databases
    env: dict[str, str]
    vhost: str
    servers: list[tuple[str, int]]
    pools: list[tuple[str, Process]] = field(default_factory=list)

    def start(self) -> None:
        """Start the processes, and wait until all are ready."""
        self._start(self.contestant.workers())

    def start_late(self) -> None:
        """Start those that were to begin only now."""
        self._start(self.contestant.latecomers())

    def _start(self, workers: Iterable[Worker]) -> None:
        for worker in workers:
            process = Process(worker.name, worker.argv, env={"PYTHONUNBUFFERED": "1", **self.env})
            process.start()
            self.pools.append((worker.kind, process))
        for _, process in self.pools:
            process.wait_for_log("ready.", 60)

    def stop(self) -> None:
        """End them, warmly; Celery would take a second TERM for a cold stop."""
        for _, process in self.pools:
            process.send(signal.SIGTERM)
        for _, process in self.pools:
            with suppress(AssertionError):  # the kill is the answer
                process.wait(20)
            process.kill()
        self.pools.clear()

    def placers(self, count: int, *, placers: int = 1, at_once: int = 1, rate: float = 0) -> Placers:
        """So many processes that place ``count`` orders together."""
        return Placers(self, count, placers, at_once, rate)

    def prefill(self, orders: int) -> None:
        """Place so many before the pools start, 20 in a transaction; the bare loop's in packs."""
        placers = self.placers(orders, at_once=400 if self.contestant.shop == "bare" else 20)
        placers.go()
        placers.wait(600)

    def roots(self) -> list[tuple[str, int]]:
        """What uses CPU for it: kind and process number."""
        return [*((kind, process.pid) for kind, process in self.pools if process.pid), *self.servers]

    def until_settled(self, timeout: float = 600) -> None:
        """Wait until every order that was placed has come to its end.

        :raises AssertionError: when time is up.
        """
        until = time.monotonic() + timeout
        while not self.contestant.settled(self.databases):
            assert time.monotonic() < until, (
                f"{self.contestant.name}: orders are not settled after {timeout:.0f} s"
            )
            time.sleep(LOOK)


class Placers:
    """Processes that place orders; they begin together at :meth:`go`.

    :ivar cpu: seconds that they took for it, once they have ended.
    """

    def __init__(self, run: Run, count: int, placers: int, at_once: int, rate: float) -> None:
        env = {**os.environ, **run.env, MARK: janitor().mark}
        self.cpu = 0.0
        self._processes = []
        for seed in range(placers):
            share = ["--count", str(count // placers), "--rate", str(rate / placers), "--seed", str(seed)]
            argv = module("placing", run.contestant.shop, "--at-once", str(at_once), *share)
            argv += ["--trade", json.dumps(run.trade.options())]
            self._processes.append(
                subprocess.Popen(
                    argv, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready.\n", "a placer did not start"

    def go(self) -> None:
        """Begin."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()

    def wait(self, timeout: float) -> None:
        """Until all have placed their orders.

        :raises AssertionError: when one has failed.
        """
        until = time.monotonic() + timeout
        for process in self._processes:
            said, _ = process.communicate(timeout=max(0.1, until - time.monotonic()))
            assert process.returncode == 0, "a placer failed"
            self.cpu += float(said)


@contextmanager
def run_of(
    contestant: Contestant, servers: Servers, trade: Trade, standing: Databases | None = None
) -> Iterator[Run]:
    """Fresh databases and a fresh broker for one contestant, gone afterwards; or the ``standing`` databases
    as they are.
    """
    with ExitStack() as stack:
        if contestant.embedded:
            databases, broker, used = stack.enter_context(_embedded())
            vhost = ""
        else:
            databases = standing or copies(servers.postgres, dict(servers.templates))
            if standing is None:
                stack.callback(drop, servers.postgres, databases)
            vhost = f"bench-{next(_numbers)}"
            broker = servers.rabbitmq.add_vhost(vhost)
            stack.callback(servers.rabbitmq.delete_vhost, vhost)
            used = [
                ("postgres", servers.postgres.process.pid or 0),
                ("rabbitmq", servers.rabbitmq.process.pid or 0),
            ]
        if standing is None:
            contestant.prepare(databases)
            trade.open(databases)
        env = {
            **databases.env,
            **QUIET,
            "ORDERSAGA_BROKER_URL": broker,
            "ORDERSAGA_ENV": "test",
            "ORDERSAGA_DOTENV": "",
        }
        run = Run(contestant, trade, databases, env, vhost, used)
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
