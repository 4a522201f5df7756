"""A parent process knows what blocks the children of its pool."""

from __future__ import annotations

import os
import time

import pytest

from ordersaga.celery.conditions import LIFETIME, Conditions


def in_child(conditions: Conditions, *reports: tuple[str, str]) -> None:
    if (pid := os.fork()) == 0:
        for part, sentence in reports:
            conditions.report(part, sentence)
        os._exit(0)
    os.waitpid(pid, 0)


def test_a_childs_condition_is_read_and_ends_with_its_report() -> None:
    conditions = Conditions()
    in_child(conditions, ("database", "is read-only"), ("orders.confirm", "is paused"))
    assert conditions.read() == {"database": "is read-only", "orders.confirm": "is paused"}

    in_child(conditions, ("database", "is full"), ("database", ""))

    # Another child's report does not end the first child's condition.
    assert conditions.read()["database"] == "is read-only"


def test_the_end_of_a_condition_is_read() -> None:
    conditions = Conditions()
    in_child(conditions, ("database", "is read-only"), ("database", ""))
    assert conditions.read() == {}


def test_a_condition_that_is_not_repeated_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    conditions = Conditions()
    in_child(conditions, ("database", "is read-only"))
    assert conditions.read()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + LIFETIME + 1)
    assert conditions.read() == {}


def test_a_report_never_blocks_without_a_reader() -> None:
    conditions = Conditions()
    for number in range(2_000):
        conditions.report(f"part {number}", "x" * 400)
    assert conditions.read()
