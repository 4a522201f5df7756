"""Many orders of every kind on two processes of each pool, while one process of some pool is killed every few seconds.

``ACCEPTANCE_ORDERS=10000`` in the environment makes it the long run.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.house import House
from tests.support.pools import PARTICIPANTS, Pool
from tests.support.postgres import Postgres
from tests.support.processes import ROOT
from tests.support.rabbitmq import RabbitMQ

ORDERS = int(os.environ.get("ACCEPTANCE_ORDERS", "2000"))
EVERY = 3.0
"""Seconds between two kills."""
BATCH = 20


@pytest.fixture
def house(postgres: Postgres, database_templates: dict[str, str], rabbitmq: RabbitMQ) -> Iterator[House]:
    """A house of its own, without faults and proxies."""
    plan = [Pool(name, processes=2, kind="prefork") for name in PARTICIPANTS]
    env = {"ORDERSAGA_PARTICIPANTS": "workers.orders,workers.inventory,workers.payments"}
    with House("acceptance", postgres, database_templates, rabbitmq, plan=plan, env=env, proxied=False) as house:
        yield house


class Killer:
    """Kills one process after another with -9, and starts the one before again."""

    def __init__(self, house: House, seed: int = 7) -> None:
        self._house, self._random = house, random.Random(seed)
        self._due = time.monotonic() + EVERY
        self.kills = 0

    def look(self) -> None:
        """Kill if it is time."""
        if time.monotonic() < self._due:
            return
        self._due += EVERY
        self.start_all()
        worker = self._random.choice(self._house.pools.workers)
        worker.kill()
        self.kills += 1

    def start_all(self) -> None:
        for worker in self._house.pools.workers:
            if not worker.process.alive:
                worker.start()


@pytest.mark.timeout(120 + ORDERS // 5)
def test_all_orders_settle_while_processes_are_killed(house: House) -> None:
    killer = Killer(house)
    mixture = random.Random(1)
    sagas: list[str] = []
    declined = 0
    for _ in range(ORDERS // BATCH):
        lines = [["TEA", "GONE"] if mixture.random() < 0.05 else ["TEA", "MUG"] for _ in range(BATCH)]
        customer = mixture.choices(["ann", "bob", "poor", "blocked"], [6, 6, 1, 1])[0]
        declined += BATCH if customer in ("poor", "blocked") else sum("GONE" in order for order in lines)
        placed = house.shop.place_all(lines, customer=customer)
        house.shop.cancel(placed[0])
        sagas += placed
        killer.look()

    ends = house.books.all_ended(sagas, timeout=60 + ORDERS / 10, meanwhile=killer.look)

    killer.start_all()
    assert killer.kills >= 3
    assert ends["CONFIRMED"] + ends["ROLLED_BACK"] == ORDERS
    assert declined <= ends["ROLLED_BACK"] <= declined + ORDERS // BATCH
    house.books.are_clean(timeout=60)
    audit = [sys.executable, "manage.py", "reconcile", "--grace", "0"]
    done = subprocess.run(audit, cwd=ROOT, env={**os.environ, **house.env}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{ORDERS:,} orders, " in done.stdout
