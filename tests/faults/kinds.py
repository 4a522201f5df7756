"""The kinds of faults: how each begins, the evidence that it takes effect, and how it ends."""

from __future__ import annotations

import random
import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import psutil
import psycopg2

from ordersaga.outbox import NOTICE
from ordersaga.sql.outbox import OBSERVERS
from tests.faults.installation import VHOST, FaultInstallation
from tests.faults.load import CUSTOMERS, SKUS
from tests.faults.servers import Route
from tests.faults.switch_names import BAD_RELEASE, HELD, HOLD
from tests.support.databases import OWNERS
from tests.support.polling import eventually
from tests.support.pools import PARTICIPANTS, PoolWorker
from tests.support.postgres import OWNER

READ_ONLY, DISK_FULL = "25006", "53100"
REFUSED = "SELECT count(*) FROM ordersaga_outbox WHERE (recipient = %s OR topic = %s) AND fault IS NOT NULL"
PROBE = 2.0
"""Seconds that a probe of a route waits for a response."""


class Fault(ABC):
    """A fault. ``begin`` and ``end`` return within seconds; in between, ``evidence`` is called.

    ``end`` is called even if ``begin`` has failed halfway.
    """

    name: ClassVar[str]
    seconds: ClassVar[tuple[float, float]] = (15, 30)
    """The minimum and maximum duration in a long run, in seconds."""
    short: ClassVar[float] = 4
    """The duration in a short run."""
    partial: ClassVar[bool] = False
    """Whether orders must still be settled during the fault."""
    needs_root: ClassVar[bool] = False
    recovers_within: ClassVar[float] = 90
    """Seconds after its end within which all orders placed before must be settled."""

    def __init__(self, installation: FaultInstallation, dice: random.Random) -> None:
        self.installation, self.dice = installation, dice
        self.began = datetime.now(UTC)
        self.target = self.choose()

    def choose(self) -> str:
        """Choose the target; return it for the report."""
        return ""

    @abstractmethod
    def begin(self) -> None: ...

    @abstractmethod
    def evidence(self) -> str | None:
        """Return the evidence that the fault takes effect, or None so far."""

    @abstractmethod
    def end(self) -> None: ...


class DatabaseFault(Fault):
    """A fault of one participant's server."""

    def choose(self) -> str:
        return self.dice.choice(OWNERS)

    @property
    def server(self) -> Any:
        return self.installation.databases[self.target]

    def refused(self, code: str) -> str | None:
        """Count the statements that the server has refused with this SQLSTATE."""
        count = self.server.errors_since(self.began)[code]
        return f"{count} statements refused with SQLSTATE {code}" if count else None

    def run(self, *statements: str) -> None:
        """Run a statement as superuser."""
        with self.server.connect() as cursor:
            for statement in statements:
                cursor.execute(statement)


class ReadOnly(DatabaseFault):
    """The server refuses to write, as after a fail-over; sessions that began meanwhile stay read-only until
    they are dropped.
    """

    name = "read-only database"

    def begin(self) -> None:
        self.run(f"ALTER DATABASE {self.target} SET default_transaction_read_only = on")
        self.server.end_sessions()

    def evidence(self) -> str | None:
        return self.refused(READ_ONLY)

    def end(self) -> None:
        self.run(f"ALTER DATABASE {self.target} RESET default_transaction_read_only")
        if self.target == "payments":  # PgBouncer keeps server connections; a real fail-over breaks them
            self.server.end_sessions()


class DiskFull(DatabaseFault):
    """The file system of the participant's tables is full."""

    name = "full disk"
    needs_root = True

    @property
    def filler(self) -> Path:
        return Path(self.server.disk, "filler")

    def begin(self) -> None:
        with self.filler.open("wb", buffering=0) as file:
            size = 1 << 20
            while size >= 4096:
                try:
                    file.write(b"\0" * size)
                except OSError:
                    size //= 2

    def evidence(self) -> str | None:
        return self.refused(DISK_FULL)

    def end(self) -> None:
        self.filler.unlink()


class HeldLock(DatabaseFault):
    """A transaction holds the row lock of a popular product or wallet."""

    name = "held lock"
    seconds = (25, 40)
    partial = True
    ROWS: ClassVar = {
        "inventory": ("product", "sku", SKUS[0]),
        "payments": ("wallet", "customer", CUSTOMERS[0]),
    }

    def choose(self) -> str:
        return self.dice.choice(sorted(self.ROWS))

    def begin(self) -> None:
        table, column, self.key = self.ROWS[self.target]
        self.connection = psycopg2.connect(self.server.url(self.target, OWNER))
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT FROM {table} WHERE {column} = %s FOR UPDATE", (self.key,))

    def evidence(self) -> str | None:
        waiting = self.server.blocked_by(self.connection.info.backend_pid)
        return f"{waiting} sessions waited for the row of {self.key}" if waiting else None

    def end(self) -> None:
        self.connection.close()


class RouteFault(Fault):
    """A fault of the network between one server and its clients."""

    def choose(self) -> str:
        return self.dice.choice(sorted(self.installation.routes))

    @property
    def route(self) -> Route:
        return self.installation.routes[self.target]


class DroppedPackets(RouteFault):
    """Packets to and from one server are dropped silently."""

    name = "dropped packets"
    needs_root = True
    seconds = (20, 40)

    def begin(self) -> None:
        assert self.route.link is not None
        self.route.link.drop()

    def evidence(self) -> str | None:
        return None if self.route.connects(PROBE) else f"no packet came back within {PROBE:g} s"

    def end(self) -> None:
        assert self.route.link is not None
        self.route.link.restore()


class HalfOpen(RouteFault):
    """A middlebox keeps one server's connections open, forwards nothing, and then forgets them."""

    name = "half-open connections"
    seconds = (20, 40)

    def begin(self) -> None:
        self.route.proxy.stall()

    def evidence(self) -> str | None:
        """Connections are accepted and bytes acknowledged, but no response arrives."""
        with socket.create_connection(self.route.address, timeout=PROBE) as probe:
            probe.sendall(
                b"AMQP\x00\x00\x09\x01" if self.target == "broker" else b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
            )
            try:
                probe.recv(1)
            except TimeoutError:
                open_ = self.route.proxy.connections
                return f"connected, no answer within {PROBE:g} s; {open_} connections open"
        return None

    def end(self) -> None:
        self.route.proxy.cut()
        self.route.proxy.flow()


class BouncerRestart(Fault):
    """PgBouncer, in session mode in front of the payments database, is restarted."""

    name = "PgBouncer restart"
    seconds = (5, 10)

    def choose(self) -> str:
        return "payments"

    def begin(self) -> None:
        self.installation.bouncer.process.kill()

    def evidence(self) -> str | None:
        try:
            socket.create_connection(("127.0.0.1", self.installation.bouncer.port), timeout=PROBE).close()
        except ConnectionRefusedError:
            return "connections to it were refused"
        return None

    def end(self) -> None:
        self.installation.bouncer.start()


class MemoryAlarm(Fault):
    """RabbitMQ is short of memory and blocks publishers."""

    name = "memory alarm"

    def begin(self) -> None:
        self.installation.rabbitmq.ctl("set_vm_memory_high_watermark", "0.00001")

    def evidence(self) -> str | None:
        [node] = self.installation.rabbitmq.request("GET", "nodes")
        blocked = [
            c
            for c in self.installation.rabbitmq.request("GET", "connections")
            if c.get("state") in ("blocked", "blocking")
        ]
        return (
            f"the alarm was on, {len(blocked)} connections blocked" if node["mem_alarm"] and blocked else None
        )

    def end(self) -> None:
        self.installation.rabbitmq.ctl("set_vm_memory_high_watermark", "0.4")


class StoppedProcesses(Fault):
    """A fault that stops pool processes, children included, by SIGSTOP."""

    _family: Sequence[psutil.Process] = ()

    def stop(self, *workers: PoolWorker) -> None:
        self._family = [p for worker in workers for p in _family(worker)]
        for process in self._family:
            process.suspend()

    def stopped(self) -> int:
        """Count the stopped processes."""
        return sum(p.is_running() and p.status() == psutil.STATUS_STOPPED for p in self._family)

    def resume(self) -> None:
        for process in self._family:
            if process.is_running():
                process.resume()


class QueueFull(StoppedProcesses):
    """The audit's queue is full, because its pool does not consume; orders must still be settled."""

    name = "full queue"
    seconds = (25, 40)
    partial = True
    LIMIT = 20_000
    """Bytes."""

    def choose(self) -> str:
        return "audit"

    def begin(self) -> None:
        self.stop(*self.installation.workers("audit"))
        policy = {"pattern": "^audit$", "apply-to": "queues", "priority": 100}
        policy["definition"] = {"max-length-bytes": self.LIMIT, "overflow": "reject-publish"}
        self.installation.rabbitmq.request("PUT", f"policies/{VHOST}/full", policy)

    def evidence(self) -> str | None:
        """Count the refused rows in outboxes. A message of the test itself could be accepted and become a
        dead letter.
        """
        kept = 0
        for owner in OWNERS:
            with self.installation.databases[owner].connect(owner) as cursor:
                cursor.execute(REFUSED, (OBSERVERS, NOTICE))
                kept += cursor.fetchone()[0]
        return f"it refused messages, {kept} rows were kept in the outboxes" if kept else None

    def end(self) -> None:
        self.installation.rabbitmq.request("DELETE", f"policies/{VHOST}/full")
        self.resume()


class QueuePurge(StoppedProcesses):
    """A participant's queue is purged while messages wait in it."""

    name = "queue purge"
    seconds = (1, 1)
    short = 1

    def choose(self) -> str:
        return self.dice.choice(OWNERS)

    purged = 0

    def begin(self) -> None:
        self.stop(*self.installation.workers(self.target))
        try:
            eventually(lambda: self._ready() > 0, 20, "messages to purge")
            with self.installation.rabbitmq.connect(VHOST) as connection:
                self.purged = connection.channel().queue_purge(self.target)
        finally:
            self.resume()

    def _ready(self) -> int:
        return self.installation.rabbitmq.queues(VHOST)[self.target].ready

    def evidence(self) -> str | None:
        return f"{self.purged} messages purged" if self.purged else None

    def end(self) -> None:
        """Do nothing: purged messages stay lost."""


class StoppedProcess(StoppedProcesses):
    """One of a pool's two processes is stopped by SIGSTOP for a while."""

    name = "SIGSTOP"
    seconds = (25, 40)
    partial = True

    def choose(self) -> str:
        return self.dice.choice(PARTICIPANTS)

    def begin(self) -> None:
        self.stop(self.dice.choice(self.installation.workers(self.target)))

    def evidence(self) -> str | None:
        return f"{self.stopped()} processes stopped" if self.stopped() else None

    def end(self) -> None:
        self.resume()


class GhostTransaction(StoppedProcesses):
    """A process vanishes during a transaction that holds locks; its session stays on the server."""

    name = "ghost transaction"
    seconds = (45, 60)
    short = 6
    partial = True

    def choose(self) -> str:
        return "inventory"

    worker: PoolWorker | None = None

    def begin(self) -> None:
        self.installation.switches.on(HOLD)
        [child] = eventually(
            lambda: self.installation.switches.processes_at(HELD), 30, "a transaction that is held open"
        )
        for worker in self.installation.workers(self.target):
            if child in [p.pid for p in _family(worker)]:
                self.worker = worker
        assert self.worker is not None, "the process that holds its transaction is no pool's"
        self.stop(self.worker)

    def evidence(self) -> str | None:
        with self.installation.databases[self.target].connect() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE state = 'idle in transaction' AND usename = 'inventory'"
            )
            [count] = cursor.fetchone()
        return "its session stayed idle in transaction" if count else None

    def end(self) -> None:
        """Start a process in place of the vanished one, which never returns."""
        if self.worker is not None:
            self.installation.away.add(self.worker.process.name)
            self.worker.kill()
        self.installation.switches.clear()
        if self.worker is not None:
            self.worker.start()
            self.installation.away.discard(self.worker.process.name)


class Killed(Fault):
    """One of a pool's two processes is killed with SIGKILL and started again."""

    name = "kill -9"
    partial = True
    seconds = (5, 15)

    def choose(self) -> str:
        return self.dice.choice(PARTICIPANTS)

    def begin(self) -> None:
        self.worker = self.dice.choice(self.installation.workers(self.target))
        self.installation.away.add(self.worker.process.name)
        self.worker.kill()

    def evidence(self) -> str | None:
        code = self.worker.process.returncode
        return f"{self.worker.process.name} ended with {code}" if code == -signal.SIGKILL else None

    def end(self) -> None:
        self.worker.start()
        self.installation.away.discard(self.worker.process.name)


class BadRelease(Fault):
    """A release whose step raises for every order; then the previous release returns."""

    name = "bad release"
    seconds = (120, 120)
    short = 8
    recovers_within = 150

    def choose(self) -> str:
        return "inventory.reserve_stock"

    def begin(self) -> None:
        self.installation.switches.on(BAD_RELEASE)

    def evidence(self) -> str | None:
        processes = self.installation.switches.processes_at(BAD_RELEASE)
        return f"the step raised in {len(processes)} processes" if processes else None

    def end(self) -> None:
        self.installation.switches.clear()


KINDS: dict[str, type[Fault]] = {
    kind.name: kind
    for kind in (
        ReadOnly, DiskFull, DroppedPackets, HeldLock, GhostTransaction, MemoryAlarm, QueueFull, HalfOpen,
        BouncerRestart, QueuePurge, StoppedProcess, Killed, BadRelease,
    )
}  # fmt: skip


def _family(worker: PoolWorker) -> list[psutil.Process]:
    """Return a pool process and its children."""
    assert worker.process.pid is not None
    try:
        parent = psutil.Process(worker.process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


__all__ = ["KINDS", "Fault"]
