"""A short fault run with seeded faults; ``make faults`` runs longer and with every kind."""

from __future__ import annotations

import itertools
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.faults import report
from tests.faults.kinds import KINDS
from tests.faults.run import run, schedule
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import time_scale

SHORT = ("kill -9", "read-only database", "held lock", "queue purge", "PgBouncer restart", "bad release")
"""Kinds of faults that take effect within seconds."""
RATE = 6.0
"""Orders per second on the reference machine."""


def test_the_same_seed_plans_the_same_faults() -> None:
    first, again, other = (list(itertools.islice(schedule(seed, list(KINDS)), 40)) for seed in (1, 1, 2))
    assert first == again != other
    assert {planned.kind for planned in first[: len(KINDS)]} == set(KINDS)


@pytest.fixture(scope="module")
def found(rabbitmq: RabbitMQ) -> dict[str, Any]:
    """The report of one short run."""
    rabbitmq.ensure()
    return run(seed=7, minutes=0, rate=RATE / time_scale(), kinds=SHORT, short=True, rabbitmq=rabbitmq)


@pytest.mark.timeout(300)
def test_server_faults_lose_no_order(found: dict[str, Any]) -> None:
    """Every kind takes effect, orders progress where they can, all end as planned, and ``reconcile`` finds
    nothing.
    """
    assert found["verdict"] == []


def test_the_report_shows_each_fault(found: dict[str, Any], tmp_path: Path) -> None:
    report.write(tmp_path, found)
    [written] = report.read(tmp_path)
    assert {fault["kind"] for fault in written["faults"]} == set(SHORT)
    assert all(fault["evidence"] for fault in written["faults"])
    page = "\n".join(report.section(tmp_path))
    assert all(f"| {kind} |" in page for kind in SHORT)
    drawn = ET.fromstring((tmp_path / "faults-7.svg").read_text())  # noqa: S314 - our own
    bars = [e for e in drawn.iter("{http://www.w3.org/2000/svg}rect") if e.get("class") == "fault"]
    assert len(bars) == len(written["faults"])
    assert json.loads((tmp_path / "faults-7.json").read_text())["seed"] == 7
