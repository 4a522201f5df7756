"""Many orders of every kind, and real ones, settle while processes are killed one after another.

``ACCEPTANCE_ORDERS=10000`` makes it a long run. ``REAL_ORDERS=6919`` places all real orders, also on the
embedded default, where a killed process's envelopes return only after half a minute.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support.chaos import ProcessKiller
from tests.support.databases import OWNERS, Databases
from tests.support.db_probe import DatabaseProbe
from tests.support.embedded import EmbeddedPostgres
from tests.support.installation import Installation
from tests.support.measured import MEASURED
from tests.support.polling import eventually
from tests.support.pools import PARTICIPANTS, Pool, Pools
from tests.support.postgres import Postgres
from tests.support.processes import ROOT
from tests.support.rabbitmq import RabbitMQ
from tests.support.real_orders import Workload, settle

ORDERS = int(os.environ.get("ACCEPTANCE_ORDERS", "2000"))
BATCH = 20
KILLS = 4
"""The number of parts in which the orders are placed, with a kill between two parts."""


PLAN = [Pool(name, processes=2, kind="prefork") for name in PARTICIPANTS]
PARTICIPATING = {"ORDERSAGA_PARTICIPANTS": "workers.orders,workers.inventory,workers.payments"}
WHOLE = "REAL_ORDERS" in os.environ
TRADE = Workload(int(os.environ["REAL_ORDERS"]), 1, 5) if WHOLE else Workload(600, 2, 1)


@pytest.fixture(scope="module")
def installation(
    postgres: Postgres, database_templates: dict[str, str], rabbitmq: RabbitMQ
) -> Iterator[Installation]:
    """A separate installation, without injected faults and proxies."""
    with Installation(
        "acceptance", postgres, database_templates, rabbitmq, plan=PLAN, env=PARTICIPATING, proxied=False
    ) as installation:
        yield installation


@pytest.mark.timeout(120 + ORDERS // 5)
def test_all_orders_settle_while_processes_are_killed(
    installation: Installation, record_property: Callable[[str, object], None]
) -> None:
    began = installation.probe.now()
    killer = ProcessKiller(installation.pools)
    mixture = random.Random(1)
    sagas: list[str] = []
    declined = 0
    for number in range(ORDERS // BATCH):
        eventually(partial(killer.has_killed, KILLS * number * BATCH // ORDERS), 60, "the next kill")
        lines = [["TEA", "GONE"] if mixture.random() < 0.05 else ["TEA", "MUG"] for _ in range(BATCH)]
        customer = mixture.choices(["ann", "bob", "poor", "blocked"], [6, 6, 1, 1])[0]
        declined += BATCH if customer in ("poor", "blocked") else sum("GONE" in order for order in lines)
        placed = installation.factory.place_all(lines, customer=customer)
        installation.factory.cancel(placed[0])
        sagas += placed

    ends = installation.probe.wait_until_ended(
        sagas, timeout=60 + ORDERS / 10, meanwhile=killer.kill_when_due
    )

    killer.start_all()
    installation.probe.wait_until_clean(timeout=60)
    record_property(MEASURED, f"{installation.probe.summary_since(began)}; {killer.kills} kills")
    assert killer.kills >= KILLS - 1
    assert ends["CONFIRMED"] + ends["ROLLED_BACK"] == ORDERS
    assert declined <= ends["ROLLED_BACK"] <= declined + ORDERS // BATCH
    audit = [sys.executable, "manage.py", "reconcile", "--grace", "0"]
    done = subprocess.run(
        audit, cwd=ROOT, env={**os.environ, **installation.env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert (
        f"{installation.probe.query('orders', 'SELECT count(*) FROM orders_order')[0][0]:,} orders, "
        in done.stdout
    )


@pytest.mark.timeout(180 + TRADE.timeout)
def test_real_orders_are_confirmed_and_the_amounts_match(installation: Installation, tmp_path: Path) -> None:
    settle(TRADE, installation.env, installation.pools, installation.probe, tmp_path)


if WHOLE:

    @pytest.mark.timeout(180 + TRADE.timeout)
    def test_real_orders_are_all_confirmed_on_the_embedded_default(tmp_path: Path) -> None:
        with embedded_installation() as (env, pools, probe):
            settle(TRADE, env, pools, probe, tmp_path)


@contextmanager
def embedded_installation() -> Iterator[tuple[dict[str, str], Pools, DatabaseProbe]]:
    """The same pools on the embedded PostgreSQL and its broker."""
    postgres = EmbeddedPostgres()
    urls = postgres.server.urls
    databases = Databases(**{owner: urls[owner] for owner in OWNERS})
    env = {**databases.env, **PARTICIPATING, "ORDERSAGA_BROKER_URL": urls["broker"]}
    pools = Pools(env)
    try:
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env={**os.environ, **env}, check=True
        )
        pools.launch(*PLAN)
        yield env, pools, DatabaseProbe(databases)
    finally:
        pools.teardown()
        postgres.stop()
