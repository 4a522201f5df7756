"""Runs Celery pools as local processes behind pytest-celery's nodes and clusters: ``celery -A workers.<name>
worker``.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_celery import CeleryTestContainer, CeleryTestWorker, CeleryWorkerCluster

from tests.support.janitor import janitor
from tests.support.polling import eventually
from tests.support.processes import ROOT, Process

PARTICIPANTS = ("orders", "inventory", "payments", "audit")


@dataclass(frozen=True)
class Pool:
    """A pool, as a deployment describes it."""

    name: str
    processes: int = 1
    kind: str = "prefork"
    """``-P``: prefork, threads or solo."""
    concurrency: int = 1
    app: str = ""
    """``-A``; ``workers.<name>`` when empty."""
    env: Mapping[str, str] = field(default_factory=dict)
    args: Sequence[str] = ()
    """Further options of ``celery worker``."""

    def command(self, node: str) -> list[str]:
        options = ["-n", node, "-P", self.kind, "-c", str(self.concurrency), "-l", "INFO", *self.args]
        if "--autoscale" in " ".join(self.args):
            del options[options.index("-c") : options.index("-c") + 2]
        return [sys.executable, "-m", "celery", "-A", self.app or f"workers.{self.name}", "worker", *options]


class PoolContainer(CeleryTestContainer):
    """Presents one ``celery worker`` process as the container that pytest-celery expects."""

    def __init__(self, pool: Pool, number: int, env: Mapping[str, str], cwd: Path, folder: Path) -> None:
        # No super().__init__: it needs a Docker client.
        self.pool = pool
        self.node = f"{pool.name}-{number}@test"
        self.env_given = {**env, **pool.env}
        self.process = Process(
            f"{pool.name}-{number}",
            pool.command(self.node),
            env={"PYTHONUNBUFFERED": "1", **self.env_given},
            cwd=cwd,
            log=folder / f"{pool.name}-{number}.log",
        )

    @property
    def id(self) -> str:
        return self.process.name

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def env(self) -> dict[str, str]:
        return dict(self.env_given)

    @property
    def status(self) -> str:
        return "running" if self.process.alive else "exited"

    @property
    def celeryconfig(self) -> dict[str, Any]:
        broker = self.env_given.get("ORDERSAGA_BROKER_URL", "")
        return {"url": broker, "host_url": broker}

    def worker_name(self) -> str:
        return self.node

    def worker_queue(self) -> str:
        return self.pool.name

    def log_level(self) -> str:
        return "INFO"

    def version(self) -> str:
        import celery

        return str(celery.__version__)

    def start(self) -> None:
        self.process.start()

    def ready(self, timeout: float = 60) -> bool:
        """Wait until the worker has logged that it is ready.

        :raises RuntimeError: if it exits first.
        """
        self.process.wait_for_log(self._readiness, timeout)
        return True

    @property
    def is_ready(self) -> bool:
        """Whether the process runs and has logged that it is ready."""
        return self.process.alive and self._readiness in self.process.logs()

    @property
    def _readiness(self) -> str:
        return f"{self.node} ready."

    def logs(self) -> str:
        return self.process.logs(whole=True)

    def reload(self) -> None:
        """Do nothing: a process has no state to reload."""

    def kill(self, signal: str | int = "SIGKILL") -> None:
        """Kill the whole process group with SIGKILL, or send another signal to the parent alone."""
        number = number_of(signal)
        if number == number_of("SIGKILL"):
            self.process.kill()
        else:
            self.process.send(number)

    def terminate(self, timeout: float = 30) -> int:
        """Stop by Celery's warm shutdown; return the exit status."""
        return self.process.terminate(timeout)

    def restart(self, timeout: float = 30) -> None:
        """Stop warmly if it runs, start, and wait until it is ready."""
        if self.process.alive:
            self.process.terminate(timeout)
        self.process.start()
        self.ready()

    def teardown(self) -> None:
        self.process.stop(timeout=10)


class PoolWorker(CeleryTestWorker):
    """pytest-celery's worker node for a local process."""

    container: PoolContainer

    def __init__(self, container: PoolContainer, app: Any = None) -> None:
        super().__init__(container, app)

    @property
    def process(self) -> Process:
        return self.container.process

    def hostname(self) -> str:
        return self.container.node

    def start(self) -> None:
        self.container.start()

    def terminate(self, timeout: float = 30) -> int:
        """Stop by Celery's warm shutdown; return the exit status."""
        return self.container.terminate(timeout)


class PoolCluster(CeleryWorkerCluster):
    """All processes of one pool, or of several."""

    def __iter__(self) -> Iterator[PoolWorker]:
        return super().__iter__()

    def __getitem__(self, index: int) -> PoolWorker:
        return super().__getitem__(index)

    def kill(self) -> None:
        """Kill every process with SIGKILL."""
        for worker in self:
            worker.kill()

    def terminate(self, timeout: float = 30) -> None:
        """Stop all warmly, at the same time."""
        for worker in self:
            worker.kill(signal="SIGTERM")
        for worker in self:
            worker.process.wait(timeout)

    def start(self, *, wait: bool = True) -> None:
        """Start the processes that do not run, at the same time."""
        for worker in self:
            if not worker.process.alive:
                worker.start()
        if wait:
            self.ready()

    def restart(self, *, force: bool = False) -> None:
        """Stop all, warmly or by SIGKILL, and start them."""
        if force:
            self.kill()
        else:
            self.terminate()
        self.start()

    def logs(self) -> str:
        return "\n".join(worker.logs() for worker in self)

    def teardown(self) -> None:
        for worker in self:
            worker.kill(signal="SIGTERM")
        for worker in self:
            worker.teardown()


class Pools:
    """Starts pools, and returns them by name: ``pools["inventory"][0].kill()``."""

    def __init__(self, env: Mapping[str, str], cwd: Path = ROOT, *, after: int = 0) -> None:
        """:param after: the number before the first process of each pool; no two may share a node name."""
        self.env = dict(env)
        self.cwd = cwd
        self._after = after
        self._folder = janitor().folder("pools")
        self._clusters: dict[str, PoolCluster] = {}
        self._count: dict[str, int] = {}

    def start(
        self,
        name: str,
        *,
        processes: int = 1,
        kind: str = "prefork",
        concurrency: int = 1,
        app: str = "",
        env: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
        wait: bool = True,
    ) -> PoolCluster:
        """Start further processes of the pool ``name``; return the cluster of all its processes."""
        pool = Pool(
            name, processes=processes, kind=kind, concurrency=concurrency, app=app, env=env or {}, args=args
        )
        return self.launch(pool, wait=wait)[name]

    def start_all(self, *names: str, wait: bool = True, **options: Any) -> dict[str, PoolCluster]:
        """Start the pools of the four participants, or those named, at the same time; options as for
        ``start``.
        """
        pools = [Pool(name, **options) for name in names or PARTICIPANTS]
        return self.launch(*pools, wait=wait)

    def launch(self, *pools: Pool, wait: bool = True) -> dict[str, PoolCluster]:
        """Start every process of ``pools`` at once, and wait for all."""
        for pool in pools:
            workers = list(self._clusters[pool.name]) if pool.name in self._clusters else []
            for _ in range(pool.processes):
                number = self._count[pool.name] = self._count.get(pool.name, self._after) + 1
                container = PoolContainer(pool, number, self.env, self.cwd, self._folder)
                container.start()
                workers.append(PoolWorker(container))
            self._clusters[pool.name] = PoolCluster(*workers)
        started = {pool.name: self._clusters[pool.name] for pool in pools}
        if wait:
            for cluster in started.values():
                for worker in cluster:
                    if worker.process.alive:
                        worker.ready()
        return started

    def __getitem__(self, name: str) -> PoolCluster:
        return self._clusters[name]

    def __iter__(self) -> Iterator[PoolCluster]:
        return iter(self._clusters.values())

    @property
    def workers(self) -> list[PoolWorker]:
        return [worker for cluster in self for worker in cluster]

    def ping(self, app: Any, timeout: float = 10) -> list[str]:
        """Return the node names of all running processes, once each answers Celery's ping through ``app``."""
        expected = {worker.hostname() for worker in self.workers if worker.process.alive}

        def answered() -> bool:
            return expected <= {name for reply in app.control.ping(timeout=1) for name in reply}

        eventually(answered, timeout, f"pong from {sorted(expected)}")
        return sorted(expected)

    def teardown(self) -> None:
        for worker in self.workers:
            worker.kill(signal="SIGTERM")
        for worker in self.workers:
            worker.teardown()


def number_of(name: str | int) -> int:
    return int(getattr(signal, name)) if isinstance(name, str) else int(name)
