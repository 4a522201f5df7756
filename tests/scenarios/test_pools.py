"""Pools started by the Celery command line: every kind, several processes, and hanging steps."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.fault_injection.skus import HANGS, PAUSES, PAUSES_TOO, SLOW_QUERY
from tests.support.installation import Installation
from tests.support.polling import eventually
from tests.support.pools import Pools
from tests.support.processes import ROOT, Process
from tests.support.time_scale import scaled

KINDS: dict[str, dict[str, Any]] = {
    "prefork": {"kind": "prefork", "concurrency": 2},
    "threads": {"kind": "threads", "concurrency": 2},
    "solo": {"kind": "solo"},
    "autoscale": {"args": ["--autoscale=3,1"]},
}


@pytest.fixture(scope="module")
def inventory_away(shared_installation: Installation) -> Iterator[Installation]:
    with shared_installation.without("inventory"):
        yield shared_installation


def test_several_processes_of_one_pool_share_its_work(installation: Installation) -> None:
    installation.switches.on(PAUSES)
    sagas = [installation.factory.place(sku) for sku in (PAUSES, PAUSES_TOO)]

    eventually(lambda: len(installation.switches.processes_at(PAUSES)) == 2, 30, "two at work")

    parents = {psutil.Process(pid).ppid() for pid in installation.switches.processes_at(PAUSES)}
    assert parents == {worker.process.pid for worker in installation.pools["inventory"]}
    installation.switches.off(PAUSES)
    installation.probe.wait_until_confirmed(sagas)


class TestInsteadOfInventory:
    """The shared inventory pool is stopped; each test starts its own."""

    @pytest.fixture
    def pools(self, inventory_away: Installation) -> Iterator[Pools]:
        """Requested before ``installation``, so that it still runs when the databases are checked."""
        factory = Pools(inventory_away.env)
        yield factory
        factory.teardown()

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_warm_stop_under_load_loses_nothing(
        self, pools: Pools, installation: Installation, kind: str
    ) -> None:
        inventory = pools.start("inventory", **KINDS[kind])
        sagas = []
        for number in range(24):
            sagas += installation.factory.place_many(4)
            if number == 10:
                assert inventory[0].terminate(60) == 0
                inventory.start(wait=False)

        installation.probe.wait_until_confirmed(sagas)

    @pytest.mark.usefixtures("inventory_away")
    def test_celery_multi_starts_and_stops_it(self, installation: Installation, tmp_path: Path) -> None:
        def multi(*command: str) -> Process:
            where = [f"--pidfile={tmp_path}/%n.pid", f"--logfile={tmp_path}/%n.log"]
            argv = [sys.executable, "-m", "celery", "-A", "workers.inventory", "multi", *command, *where]
            return Process("multi", argv, env=installation.env, cwd=ROOT).start()

        begun = multi("start", "one", "two", "-P", "threads", "-c", "1", "-l", "INFO")
        assert begun.wait(60) == 0, begun.logs()
        pids = eventually(lambda: _pids(tmp_path, 2), 60, "two pid files")
        installation.probe.wait_until_confirmed(installation.factory.place_many(10))
        installation.probe.wait_until_clean()

        ended = multi("stopwait", "one", "two")
        assert ended.wait(60) == 0, ended.logs()
        eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), 30, "both gone")

    def test_a_statement_that_never_returns_is_ended_in_threads(
        self, pools: Pools, installation: Installation
    ) -> None:
        pools.start("inventory", kind="threads", concurrency=2, env={"TEST_STEP_TIME_LIMIT": f"{scaled(1)}"})
        guilty, *innocent = installation.factory.place_all([[SLOW_QUERY], *[["TEA"]] * 9])

        installation.probe.wait_until_confirmed(innocent)
        installation.probe.wait_until_rolled_back([guilty])

        assert "SQLSTATE 57014" in str(
            installation.probe.saga(guilty).reason
        )  # query_canceled, by the statement's time limit

    def test_a_step_that_hangs_is_ended_in_prefork_children(
        self, pools: Pools, installation: Installation
    ) -> None:
        pools.start("inventory", concurrency=2, env={"TEST_STEP_TIME_LIMIT": f"{scaled(1)}"})
        guilty, *innocent = installation.factory.place_all([[HANGS], *[["TEA"]] * 9])

        installation.probe.wait_until_confirmed(innocent)

        assert installation.probe.saga(guilty).status == "PENDING"
        installation.factory.cancel(guilty)
        installation.probe.wait_until_rolled_back([guilty], timeout=90)


def _pids(folder: Path, count: int) -> list[int]:
    found = [int(file.read_text()) for file in folder.glob("*.pid") if file.read_text().strip()]
    return found if len(found) == count and os.getpid() not in found else []
