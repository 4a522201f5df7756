"""The installation of a fault run: servers, routes to them, two processes of each pool, and the load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import isolation as isolating
from tests.faults.isolation import Isolation
from tests.faults.load import CUSTOMERS, SKUS
from tests.faults.servers import ParticipantPostgres, Route
from tests.support.databases import OWNERS, Databases
from tests.support.db_probe import DatabaseProbe
from tests.support.fault_injection.switches import FaultSwitches
from tests.support.janitor import janitor
from tests.support.order_factory import RICH, OrderFactory
from tests.support.pgbouncer import PgBouncer
from tests.support.pools import PARTICIPANTS, Pool, Pools, PoolWorker
from tests.support.processes import ROOT, Process
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled

VHOST = "faults"
PLAN = [Pool(name, processes=2, kind="prefork") for name in PARTICIPANTS]
WATCHDOG = 10.0
"""In seconds; shorter than in production, so that sagas of purged queues resume within a short run."""


@dataclass
class FaultInstallation:
    """All parts of a running installation.

    :ivar isolation: None if namespaces cannot be created; then packets are not dropped and disks do not fill
        up.
    :ivar restarts: pool processes that ended by themselves and were restarted, by name.
    """

    isolation: Isolation | None
    databases: dict[str, ParticipantPostgres]
    bouncer: PgBouncer
    rabbitmq: RabbitMQ
    routes: dict[str, Route]
    switches: FaultSwitches
    pools: Pools
    probe: DatabaseProbe
    load: Process
    load_lines: Path
    restarts: dict[str, int] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    """Processes that a fault has ended and will start again itself."""

    def workers(self, name: str) -> list[PoolWorker]:
        return list(self.pools[name])

    def supervise(self) -> None:
        """Restart processes that ended by themselves, as systemd or compose does."""
        for worker in self.pools.workers:
            if not worker.process.alive and worker.process.name not in self.away:
                self.restarts[worker.process.name] = self.restarts.get(worker.process.name, 0) + 1
                worker.start()

    def placed(self) -> list[dict[str, Any]]:
        """Return every placed order, from the load's output."""
        return [json.loads(line) for line in self.load_lines.read_text().splitlines()]


@contextmanager
def installed(rate: float, seed: int, rabbitmq: RabbitMQ | None = None) -> Iterator[FaultInstallation]:
    """Start everything but the load; stop everything at the end.

    :param rabbitmq: a running node, which is kept; by default a node is started.
    """
    with ExitStack() as stack:
        isolation = stack.enter_context(Isolation()) if isolating.possible() else None
        databases = {owner: ParticipantPostgres(owner, isolation) for owner in OWNERS}
        for server in databases.values():
            stack.callback(server.process.kill)
        with ThreadPoolExecutor() as starting:
            opening = [starting.submit(server.open) for server in databases.values()]
            if rabbitmq is None:
                rabbitmq = RabbitMQ()
                stack.callback(rabbitmq.close)
                opening.append(starting.submit(rabbitmq.start))
            for each in opening:
                each.result()
        stack.callback(rabbitmq.delete_vhost, VHOST)
        bouncer = PgBouncer(databases["payments"].port, "session", ["payments"], size=80)
        stack.callback(bouncer.process.kill)
        bouncer.start()
        direct = Databases(**{owner: server.database_url for owner, server in databases.items()})
        _migrate(direct)
        ports = {
            **{owner: databases[owner].port for owner in OWNERS},
            "payments": bouncer.port,
            "broker": rabbitmq.port,
        }
        routes = {name: Route(name, port, isolation) for name, port in ports.items()}
        for route in routes.values():
            route.proxy.start()
            stack.callback(route.proxy.close)
        switches = FaultSwitches(janitor().folder("switches"))
        urls = {
            **{owner: getattr(direct, owner) for owner in OWNERS},
            "payments": bouncer.through(direct.payments),
        }
        urls["broker"] = rabbitmq.add_vhost(VHOST)
        env = {
            **_environment({name: routes[name].through(url, ports[name]) for name, url in urls.items()}),
            **switches.env,
        }
        _open_shop(direct)
        pools = Pools(env)
        stack.callback(pools.teardown)
        pools.launch(*PLAN)
        lines = janitor().folder("load") / "orders.jsonl"
        argv = [sys.executable, "-m", "tests.faults.load", "--rate", str(rate), "--seed", str(seed)]
        load = Process("load", ["sh", "-c", 'exec "$@" >"$0"', lines, *argv], env=env)
        stack.callback(load.stop, 10)
        probe = DatabaseProbe(direct)
        yield FaultInstallation(
            isolation, databases, bouncer, rabbitmq, routes, switches, pools, probe, load, lines
        )


def _environment(urls: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of every process under test, with addresses that faults can affect."""
    return {
        **{f"ORDERSAGA_{owner.upper()}_DATABASE_URL": urls[owner] for owner in OWNERS},
        "ORDERSAGA_ENV": "test",
        "ORDERSAGA_BROKER_URL": urls["broker"],
        "ORDERSAGA_PARTICIPANTS": "workers.orders,tests.faults.inventory,workers.payments",
        "ORDERSAGA_WATCHDOG": f"{scaled(WATCHDOG)}",
    }


def _migrate(databases: Databases) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v0"],
        cwd=ROOT,
        env={**os.environ, **databases.env},
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(120),
    )
    if done.returncode:
        raise RuntimeError(f"manage.py migrate ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _open_shop(databases: Databases) -> None:
    factory = OrderFactory(databases)
    factory.seed()
    factory.add_products(dict.fromkeys(SKUS, 10**7))
    factory.open_wallets(dict.fromkeys(CUSTOMERS, RICH))
