"""Pools as the Celery command line starts them: every kind, several processes, and steps that hang."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.fault_injection.goods import HANGS, PAUSES, PAUSES_TOO, SLEEPS
from tests.support.installation import House
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
def inventory_away(standing_house: House) -> Iterator[House]:
    with standing_house.without("inventory"):
        yield standing_house


def test_several_processes_of_one_pool_share_its_work(house: House) -> None:
    house.switches.on(PAUSES)
    sagas = [house.shop.place(sku) for sku in (PAUSES, PAUSES_TOO)]

    eventually(lambda: len(house.switches.came_by(PAUSES)) == 2, 30, "two at work")

    parents = {psutil.Process(pid).ppid() for pid in house.switches.came_by(PAUSES)}
    assert parents == {worker.process.pid for worker in house.pools["inventory"]}
    house.switches.off(PAUSES)
    house.books.all_confirmed(sagas)


class TestInsteadOfInventory:
    """The standing inventory is away; each test brings its own."""

    @pytest.fixture
    def pools(self, inventory_away: House) -> Iterator[Pools]:
        """Asked for before ``house``, so that it still runs when the books are checked."""
        factory = Pools(inventory_away.env)
        yield factory
        factory.teardown()

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_warm_stop_under_load_loses_nothing(self, pools: Pools, house: House, kind: str) -> None:
        inventory = pools.start("inventory", **KINDS[kind])
        sagas = []
        for number in range(24):
            sagas += house.shop.place_many(4)
            if number == 10:
                assert inventory[0].terminate(60) == 0
                inventory.start(wait=False)

        house.books.all_confirmed(sagas)

    @pytest.mark.usefixtures("inventory_away")
    def test_celery_multi_starts_and_stops_it(self, house: House, tmp_path: Path) -> None:
        def multi(*command: str) -> Process:
            where = [f"--pidfile={tmp_path}/%n.pid", f"--logfile={tmp_path}/%n.log"]
            argv = [sys.executable, "-m", "celery", "-A", "workers.inventory", "multi", *command, *where]
            return Process("multi", argv, env=house.env, cwd=ROOT).start()

        begun = multi("start", "one", "two", "-P", "threads", "-c", "1", "-l", "INFO")
        assert begun.wait(60) == 0, begun.logs()
        pids = eventually(lambda: _pids(tmp_path, 2), 60, "two pid files")
        house.books.all_confirmed(house.shop.place_many(10))
        house.books.are_clean()

        ended = multi("stopwait", "one", "two")
        assert ended.wait(60) == 0, ended.logs()
        eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), 30, "both gone")

    def test_a_statement_that_never_returns_is_ended_in_threads(self, pools: Pools, house: House) -> None:
        pools.start("inventory", kind="threads", concurrency=2, env={"UNRULY_TIME_LIMIT": f"{scaled(1)}"})
        guilty, *innocent = house.shop.place_all([[SLEEPS], *[["TEA"]] * 9])

        house.books.all_confirmed(innocent)
        house.books.all_rolled_back([guilty])

        assert "SQLSTATE 57014" in str(
            house.books.saga(guilty).reason
        )  # query_canceled, by the statement's time limit

    def test_a_step_that_hangs_is_ended_in_prefork_children(self, pools: Pools, house: House) -> None:
        pools.start("inventory", concurrency=2, env={"UNRULY_TIME_LIMIT": f"{scaled(1)}"})
        guilty, *innocent = house.shop.place_all([[HANGS], *[["TEA"]] * 9])

        house.books.all_confirmed(innocent)

        assert house.books.saga(guilty).status == "PENDING"
        house.shop.cancel(guilty)
        house.books.all_rolled_back([guilty], timeout=90)


def _pids(folder: Path, count: int) -> list[int]:
    found = [int(file.read_text()) for file in folder.glob("*.pid") if file.read_text().strip()]
    return found if len(found) == count and os.getpid() not in found else []
