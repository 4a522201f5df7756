"""A bad release: a step fails for every order, so it is paused, and no order is rolled back for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection, transaction

from ordersaga.heartbeat import live_processes
from tests.support.db_override import django_at
from tests.support.fault_injection.goods import BROKEN
from tests.support.installation import House
from tests.support.polling import eventually
from tests.support.pools import PoolCluster
from tests.support.processes import ROOT, run_dir
from webapp.ops.doctor.backlog import obstacles
from webapp.ops.doctor.database import Patient
from workers.choreography import choreography
from workers.order_saga import order_operations

STEP = "inventory.reserve_stock"
PAUSED = "SELECT probes FROM ordersaga_paused_step WHERE step = %s"


@pytest.fixture(scope="module")
def inventory(standing_house: House) -> Iterator[PoolCluster]:
    """Two processes of the inventory pool that try a failing step about as often as in production."""
    standing_house.ensure()
    with standing_house.instead("inventory", processes=2, env={"UNRULY_ATTEMPTS": "30"}) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def mended(house: House, inventory: PoolCluster) -> Iterator[None]:
    """After each test the step works again, before the books are checked."""
    yield
    house.switches.off(BROKEN)


def paused(house: House) -> bool:
    return bool(house.books.ask("inventory", PAUSED, STEP))


def words() -> str:
    return " ".join(
        text for life in live_processes(Path(run_dir()), "inventory") for text in life.words.values()
    )


def test_a_bad_release_rolls_no_order_back(house: House, inventory: PoolCluster) -> None:
    letters = len(house.books.desk())
    house.switches.on(BROKEN)
    sagas = [saga for _ in range(3) for saga in house.shop.place_many(7)]
    eventually(lambda: paused(house), 30, "the step is paused")

    with Patient("inventory", house.databases.inventory) as database:
        [finding] = [each for each in obstacles(database, choreography()) if each.code == "step-paused"]
    assert STEP in finding.what
    listed = subprocess.run(
        [sys.executable, "manage.py", "paused_steps", "list"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**house.databases.env, "PATH": ""},
        timeout=60,
    ).stdout
    assert f"{STEP}: paused since" in listed
    eventually(
        lambda: "is paused, because it fails for every saga: Unruly" in words(),
        30,
        "the health check names it",
    )
    cancelled, *kept = sagas
    house.shop.cancel(cancelled)
    house.books.all_rolled_back([cancelled])
    assert set(house.books.statuses(kept)) == {"PENDING"}

    house.switches.off(BROKEN)
    house.books.all_confirmed(kept, timeout=90)

    assert not paused(house)
    assert len(house.books.desk()) == letters
    assert house.books.saga(cancelled).refusal == "OrderCancelled"


def test_processes_that_are_killed_while_a_step_is_paused(house: House, inventory: PoolCluster) -> None:
    house.switches.on(BROKEN)
    sagas = house.shop.place_many(20)
    eventually(lambda: paused(house), 30, "the step is paused")
    [(probes,)] = house.books.ask("inventory", PAUSED, STEP)
    inventory.restart(force=True)
    eventually(
        lambda: house.books.ask("inventory", PAUSED, STEP)[0][0] > probes, 60, "it is probed and still fails"
    )
    assert set(house.books.statuses(sagas)) == {"PENDING"}

    house.switches.off(BROKEN)
    house.books.all_confirmed(sagas, timeout=90)


def test_an_operator_resumes_a_step(house: House, inventory: PoolCluster) -> None:
    house.switches.on(BROKEN)
    sagas = house.shop.place_many(12)
    eventually(lambda: paused(house), 30, "the step is paused")
    later = "UPDATE ordersaga_paused_step SET probe_at = now() + interval '1 hour'"
    house.books.ask("inventory", later)
    house.books.ask(
        "inventory", "UPDATE ordersaga_outbox SET due_at = now() + interval '1 hour' WHERE kind = 'paused'"
    )
    house.switches.off(BROKEN)

    with django_at(house.databases.orders), transaction.atomic():
        order_operations.resume_step(
            STEP, participant="inventory", db=connection, by="a test", reason="mended"
        )

    house.books.all_confirmed(sagas)
    assert not paused(house)
