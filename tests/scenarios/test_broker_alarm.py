"""RabbitMQ's memory or disk alarm blocks publishing only; no order is lost or rolled back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.installation import Installation
from tests.support.polling import eventually
from tests.support.processes import ROOT, run_dir

ALARM = "The broker accepts no messages"
LOW = "low on memory"


class Ran(NamedTuple):
    status: int
    text: str
    seconds: float


def run(installation: Installation, *words: str) -> Ran:
    """Run a command of the project beside the pools, with a timeout of a minute."""
    env = {
        **os.environ,
        **installation.env,
        "ORDERSAGA_RUN_DIR": run_dir(),
        "DJANGO_SETTINGS_MODULE": "webapp.settings",
    }
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60, env=env
    )
    return Ran(done.returncode, " ".join((done.stdout + done.stderr).split()), time.monotonic() - began)


def reserved(installation: Installation, sagas: list[str]) -> bool:
    states = [installation.probe.journal(saga).get("inventory.reserve_stock") for saga in sagas]
    assert states == ["done"] * len(sagas), states
    return True


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "orders.csv"
    path.write_text("customer,sku,quantity\nann,TEA,1\n")
    return str(path)


def test_a_memory_alarm_delays_only_publishing(installation: Installation, file: str) -> None:
    """Running pools consume their queues; commands end in time and name the alarm; pools stop and start."""
    dead_letter_count = len(installation.probe.dead_letters())
    for worker in installation.pools["inventory"]:
        worker.kill(signal="SIGSTOP")
    queued = [installation.factory.place() for _ in range(6)]
    eventually(
        lambda: installation.rabbitmq.queues(installation.vhost)["inventory"].ready >= 2,
        30,
        "envelopes in the queue",
    )

    with installation.rabbitmq.alarm("memory"):
        for worker in installation.pools["inventory"]:
            worker.kill(signal="SIGCONT")
        meanwhile = installation.factory.place_many(5)
        eventually(
            lambda: reserved(installation, queued), 40, "the queue consumed although nothing can be published"
        )

        placed = run(installation, "manage.py", "place_orders", file, "--wait", "--timeout", "2")
        assert (placed.status, LOW in placed.text) == (1, True), placed
        assert placed.seconds < 30, placed
        examined = run(installation, "manage.py", "doctor", "--json")
        assert (examined.status, '"broker-alarm"' in examined.text, LOW in examined.text) == (
            1,
            True,
            True,
        ), examined
        eventually(
            lambda: LOW in run(installation, "-m", "workers.health", "orders").text,
            30,
            "the alarm in the health of a pool",
        )

        installation.pools["payments"].terminate(timeout=30)
        installation.pools["inventory"].terminate(timeout=30)
        assert [
            w.process.returncode for name in ("payments", "inventory") for w in installation.pools[name]
        ] == [
            0,
            0,
            0,
        ]
        installation.pools["payments"].start()
        assert all(worker.process.alive for worker in installation.pools["orders"])

    installation.pools["inventory"].start()
    installation.probe.wait_until_confirmed([*queued, *meanwhile], timeout=60)
    assert len(installation.probe.dead_letters()) == dead_letter_count
    for worker in installation.pools["orders"]:
        assert worker.process.logs().count(ALARM) == 1
    assert LOW not in run(installation, "-m", "workers.health", "orders").text
