"""A bad release: a step that fails for every order is paused, and no order rolls back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection, transaction

from ordersaga.heartbeat import live_processes
from tests.support.db_override import django_at
from tests.support.fault_injection.skus import RESERVING_FAILS
from tests.support.installation import Installation
from tests.support.polling import eventually
from tests.support.pools import PoolCluster
from tests.support.processes import ROOT, run_dir
from webapp.ops.doctor.backlog import check_obstacles
from webapp.ops.doctor.database import Database
from workers.choreography import choreography
from workers.order_saga import order_operations

STEP = "inventory.reserve_stock"
PAUSED = "SELECT probes FROM ordersaga_paused_step WHERE step = %s"


@pytest.fixture(scope="module")
def inventory(shared_installation: Installation) -> Iterator[PoolCluster]:
    """Two processes of the inventory pool that retry about as often as in production."""
    shared_installation.ensure()
    with shared_installation.instead("inventory", processes=2, env={"TEST_STEP_ATTEMPTS": "30"}) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def repaired(installation: Installation, inventory: PoolCluster) -> Iterator[None]:
    """After each test, let the step succeed again before the databases are checked."""
    yield
    installation.switches.off(RESERVING_FAILS)


def paused(installation: Installation) -> bool:
    return bool(installation.probe.query("inventory", PAUSED, STEP))


def words() -> str:
    return " ".join(
        text for life in live_processes(Path(run_dir()), "inventory") for text in life.problems.values()
    )


def test_a_bad_release_rolls_no_order_back(installation: Installation, inventory: PoolCluster) -> None:
    dead_letter_count = len(installation.probe.dead_letters())
    installation.switches.on(RESERVING_FAILS)
    sagas = [saga for _ in range(3) for saga in installation.factory.place_many(7)]
    eventually(lambda: paused(installation), 30, "the step is paused")

    with Database("inventory", installation.databases.inventory) as database:
        [finding] = [each for each in check_obstacles(database, choreography()) if each.code == "step-paused"]
    assert STEP in finding.what
    listed = subprocess.run(
        [sys.executable, "manage.py", "paused_steps", "list"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**installation.databases.env, "PATH": ""},
        timeout=60,
    ).stdout
    assert f"{STEP}: paused since" in listed
    eventually(
        lambda: "is paused, because it fails for every saga: InjectedFault" in words(),
        30,
        "the health check names it",
    )
    cancelled, *kept = sagas
    installation.factory.cancel(cancelled)
    installation.probe.wait_until_rolled_back([cancelled])
    assert set(installation.probe.statuses(kept)) == {"PENDING"}

    installation.switches.off(RESERVING_FAILS)
    installation.probe.wait_until_confirmed(kept, timeout=90)

    assert not paused(installation)
    assert len(installation.probe.dead_letters()) == dead_letter_count
    assert installation.probe.saga(cancelled).refusal == "OrderCancelled"


def test_a_paused_step_stays_paused_when_processes_are_killed(
    installation: Installation, inventory: PoolCluster
) -> None:
    installation.switches.on(RESERVING_FAILS)
    sagas = installation.factory.place_many(20)
    eventually(lambda: paused(installation), 30, "the step is paused")
    [(probes,)] = installation.probe.query("inventory", PAUSED, STEP)
    inventory.restart(force=True)
    eventually(
        lambda: installation.probe.query("inventory", PAUSED, STEP)[0][0] > probes,
        60,
        "it is probed and still fails",
    )
    assert set(installation.probe.statuses(sagas)) == {"PENDING"}

    installation.switches.off(RESERVING_FAILS)
    installation.probe.wait_until_confirmed(sagas, timeout=90)


def test_an_operator_resumes_a_paused_step(installation: Installation, inventory: PoolCluster) -> None:
    installation.switches.on(RESERVING_FAILS)
    sagas = installation.factory.place_many(12)
    eventually(lambda: paused(installation), 30, "the step is paused")
    later = "UPDATE ordersaga_paused_step SET probe_at = now() + interval '1 hour'"
    installation.probe.query("inventory", later)
    installation.probe.query(
        "inventory", "UPDATE ordersaga_outbox SET due_at = now() + interval '1 hour' WHERE kind = 'paused'"
    )
    installation.switches.off(RESERVING_FAILS)

    with django_at(installation.databases.orders), transaction.atomic():
        order_operations.resume_step(
            STEP, participant="inventory", db=connection, by="a test", reason="repaired"
        )

    installation.probe.wait_until_confirmed(sagas)
    assert not paused(installation)
