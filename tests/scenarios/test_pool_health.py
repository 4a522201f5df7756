"""The processes of a pool show their domain by their names, and whether they are healthy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.janitor import janitor
from tests.support.polling import eventually
from tests.support.postgres import Postgres
from tests.support.processes import ROOT, Process
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled

POOL = [
    "-m",
    "celery",
    "-A",
    "workers.inventory",
    "worker",
    "-c",
    "1",
    "-l",
    "INFO",
    "--without-gossip",
    "--without-mingle",
]


@cache
def own_run_dir() -> str:
    """Pools of other tests may run at the same time."""
    return str(janitor().folder("health"))


@pytest.fixture
def broker_proxy(rabbitmq: RabbitMQ, proxy: Callable[[int], Proxy]) -> Proxy:
    return proxy(rabbitmq.port)


@pytest.fixture
def database_proxy(postgres: Postgres, proxy: Callable[[int], Proxy]) -> Proxy:
    return proxy(postgres.port)


@pytest.fixture
def environment(
    databases: Databases, vhost: str, broker_proxy: Proxy, database_proxy: Proxy
) -> dict[str, str]:
    inventory = database_proxy.through(databases.inventory)
    return {
        **databases.env,
        "ORDERSAGA_RUN_DIR": own_run_dir(),
        "ORDERSAGA_BROKER_URL": broker_proxy.through(vhost),
        "ORDERSAGA_INVENTORY_DATABASE_URL": inventory,
    }


def health(*options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "workers.health", *options],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=scaled(30),
        env={"ORDERSAGA_RUN_DIR": own_run_dir(), "PATH": ""},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def result(status: int, text: str) -> Any:
    found = health("inventory")
    assert found[0] == status, found
    assert text in found[1], found
    return True


def test_the_health_check_follows_a_pool_from_start_to_end(
    spawn: Callable[..., Process], broker_proxy: Proxy, database_proxy: Proxy
) -> None:
    assert health("inventory")[0] == 1
    assert health("nowhere") == (
        2,
        "There is no pool 'nowhere'. There are: orders, inventory, payments, audit\n",
    )

    first = spawn("inventory-prefork", [sys.executable, *POOL])
    second = spawn("inventory-solo", [sys.executable, *POOL, "-P", "solo"])
    names = []
    for process in (first, second):
        process.wait_for_log(" ready.", 60)
        names += re.findall(r"(inventory-\d+@\S+) ready", process.logs())
    assert [name.partition("@")[0] for name in names] == [f"inventory-{first.pid}", f"inventory-{second.pid}"]
    assert "already using this process mailbox" not in first.logs() + second.logs()
    eventually(lambda: result(0, f"{names[0]} (process {first.pid}) is alive\n"), 20, "alive")
    alive = json.loads(health("inventory", "--json")[1])
    assert sorted(process["node"] for process in alive["processes"]) == sorted(names)
    assert health("orders")[0] == 1

    database_proxy.refuse()
    database_proxy.cut()
    eventually(
        lambda: result(0, "is alive, though its relay: the last round failed: OperationalError"),
        20,
        "waiting",
    )
    database_proxy.accept()

    broker_proxy.refuse()
    broker_proxy.cut()
    eventually(
        lambda: result(1, "does not work: its consumer has not begun or lost its connection"),
        20,
        "not connected",
    )
    broker_proxy.accept()
    eventually(lambda: result(0, f"{names[1]} (process {second.pid}) is alive\n"), 30, "connected again")

    first.kill()
    assert health("inventory") == (0, f"{names[1]} (process {second.pid}) is alive\n")
    assert second.terminate() == 0
    assert result(1, "no process of inventory runs here")
