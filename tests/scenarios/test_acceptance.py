"""Many orders of every kind, and real ones, on two processes of each pool, while one process after another is
killed.

``ACCEPTANCE_ORDERS=10000`` in the environment makes it the long run. ``REAL_ORDERS=6919`` makes it all real
orders, and on the embedded default, too: there a killed process's envelopes come back after half a minute,
which is long for every day.
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

from tests.support.chaos import Killer
from tests.support.databases import OWNERS, Databases
from tests.support.db_probe import Books
from tests.support.embedded import EmbeddedPostgres
from tests.support.installation import House
from tests.support.measured import MEASURED
from tests.support.polling import eventually
from tests.support.pools import PARTICIPANTS, Pool, Pools
from tests.support.postgres import Postgres
from tests.support.processes import ROOT
from tests.support.rabbitmq import RabbitMQ
from tests.support.real_orders import Trade, settle

ORDERS = int(os.environ.get("ACCEPTANCE_ORDERS", "2000"))
BATCH = 20
KILLS = 4
"""So many parts the orders are placed in; between two of them, a process is killed."""


PLAN = [Pool(name, processes=2, kind="prefork") for name in PARTICIPANTS]
PARTICIPATING = {"ORDERSAGA_PARTICIPANTS": "workers.orders,workers.inventory,workers.payments"}
WHOLE = "REAL_ORDERS" in os.environ
TRADE = Trade(int(os.environ["REAL_ORDERS"]), 1, 5) if WHOLE else Trade(600, 2, 1)


@pytest.fixture(scope="module")
def house(postgres: Postgres, database_templates: dict[str, str], rabbitmq: RabbitMQ) -> Iterator[House]:
    """A house of its own, without faults and proxies."""
    with House(
        "acceptance", postgres, database_templates, rabbitmq, plan=PLAN, env=PARTICIPATING, proxied=False
    ) as house:
        yield house


@pytest.mark.timeout(120 + ORDERS // 5)
def test_all_orders_settle_while_processes_are_killed(
    house: House, record_property: Callable[[str, object], None]
) -> None:
    began = house.books.now()
    killer = Killer(house.pools)
    mixture = random.Random(1)
    sagas: list[str] = []
    declined = 0
    for number in range(ORDERS // BATCH):
        eventually(partial(killer.has_killed, KILLS * number * BATCH // ORDERS), 60, "the next kill")
        lines = [["TEA", "GONE"] if mixture.random() < 0.05 else ["TEA", "MUG"] for _ in range(BATCH)]
        customer = mixture.choices(["ann", "bob", "poor", "blocked"], [6, 6, 1, 1])[0]
        declined += BATCH if customer in ("poor", "blocked") else sum("GONE" in order for order in lines)
        placed = house.shop.place_all(lines, customer=customer)
        house.shop.cancel(placed[0])
        sagas += placed

    ends = house.books.all_ended(sagas, timeout=60 + ORDERS / 10, meanwhile=killer.look)

    killer.start_all()
    house.books.are_clean(timeout=60)
    record_property(MEASURED, f"{house.books.since(began)}; {killer.kills} kills")
    assert killer.kills >= KILLS - 1
    assert ends["CONFIRMED"] + ends["ROLLED_BACK"] == ORDERS
    assert declined <= ends["ROLLED_BACK"] <= declined + ORDERS // BATCH
    audit = [sys.executable, "manage.py", "reconcile", "--grace", "0"]
    done = subprocess.run(
        audit, cwd=ROOT, env={**os.environ, **house.env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert f"{house.books.ask('orders', 'SELECT count(*) FROM orders_order')[0][0]:,} orders, " in done.stdout


@pytest.mark.timeout(180 + TRADE.timeout)
def test_real_orders_are_all_confirmed_and_the_money_is_the_files(house: House, tmp_path: Path) -> None:
    settle(TRADE, house.env, house.pools, house.books, tmp_path)


if WHOLE:

    @pytest.mark.timeout(180 + TRADE.timeout)
    def test_real_orders_are_all_confirmed_on_the_embedded_default(tmp_path: Path) -> None:
        with embedded_house() as (env, pools, books):
            settle(TRADE, env, pools, books, tmp_path)


@contextmanager
def embedded_house() -> Iterator[tuple[dict[str, str], Pools, Books]]:
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
        yield env, pools, Books(databases)
    finally:
        pools.teardown()
        postgres.stop()
