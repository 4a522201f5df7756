"""The log lines of pools: event, saga, order, step, attempt and task."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fault_injection.skus import FAILS, FAILS_TWICE, UNDO_FAILS, UNSHIPPABLE
from tests.support.installation import Installation
from tests.support.log_lines import read_lines, select
from tests.support.polling import eventually
from tests.support.pools import PoolCluster

STEP = "inventory.reserve_stock"
JSON = {"ORDERSAGA_LOG_FORMAT": "json"}


# module scope: tests of the text format come before the first test that uses it
@pytest.fixture(scope="module")
def machines(shared_installation: Installation) -> Iterator[PoolCluster]:
    """Inventory's pool with JSON logs, in prefork mode so that steps run in children."""
    with shared_installation.instead("inventory", concurrency=2, env=JSON) as cluster:
        yield cluster


def test_the_text_format_is_readable(installation: Installation) -> None:
    saga = installation.factory.place(FAILS)
    installation.probe.wait_until_rolled_back([saga])

    log = installation.pools["inventory"].logs()
    [line] = [line for line in log.splitlines() if saga in line and "step_given_up" in line]
    assert f"order={installation.probe.order_number(saga)}" in line
    assert f"step={STEP}" in line
    assert "attempt=3" in line
    assert "task=" in line
    assert not line.startswith("{")


def test_lines_of_a_failing_step_name_saga_step_and_attempt(
    installation: Installation, machines: PoolCluster
) -> None:
    saga = installation.factory.place(FAILS, "TEA")
    installation.probe.wait_until_rolled_back([saga])

    lines = read_lines(machines)
    retried, given_up = (
        select(lines, saga, "step_failed_retrying"),
        select(lines, saga, "step_given_up"),
    )
    assert [line["attempt"] for line in (*retried, *given_up)] == [1, 2, 3]
    for line in (*retried, *given_up):
        assert (line["order"], line["step"], line["participant"]) == (
            installation.probe.order_number(saga),
            STEP,
            "inventory",
        )
        assert line["error"] == "InjectedFault"
    assert retried[0]["place"].startswith("steps.py:")
    assert "before_reserving" in given_up[0]["exception"]
    tasks = {line["task"] for line in (*retried, *given_up)}
    assert len(tasks) == 3
    eventually(
        lambda: tasks_of_failures(installation, saga) == tasks, 30, "the same tasks in the audit trail"
    )


def tasks_of_failures(installation: Installation, saga: str) -> set[str]:
    """Return the tasks of failures from the audit trail."""
    statement = "SELECT task_id FROM audit_sagaevent WHERE saga_id = %s AND name = 'failed'"
    return {task for (task,) in installation.probe.query("orders", statement, saga)}


def test_a_step_that_succeeds_writes_one_line(installation: Installation, machines: PoolCluster) -> None:
    saga = installation.factory.place(FAILS_TWICE)
    installation.probe.wait_until_confirmed([saga])

    done = [line for line in select(read_lines(machines), saga, "signals_handled") if line["step"] == STEP]
    assert [(line["attempt"], line["signals"], line["order"]) for line in done] == [
        (3, 1, installation.probe.order_number(saga))
    ]


def test_a_batch_that_succeeds_writes_one_line_with_its_count(
    installation: Installation, machines: PoolCluster
) -> None:
    before = len(read_lines(machines))
    installation.probe.wait_until_confirmed(sagas := installation.factory.place_many(50))

    done = [
        line
        for line in read_lines(machines)[before:]
        if line["event"] == "signals_handled" and line.get("step") == STEP
    ]
    assert sum(line["signals"] for line in done) == len(sagas)
    assert len(done) < 5
    assert [line for line in done if "saga" in line] == []


def test_only_the_bad_signal_of_a_batch_has_its_own_lines(
    installation: Installation, machines: PoolCluster
) -> None:
    before = len(read_lines(machines))
    *good, bad = installation.factory.place_all([("TEA",)] * 9 + [(FAILS,)])
    installation.probe.wait_until_confirmed(good)
    installation.probe.wait_until_rolled_back([bad])

    lines = read_lines(machines)[before:]
    assert [line["signals"] for line in lines if line["event"] == "batch_failed"] == [10]
    failed = [line for line in lines if line.get("step") == STEP and "error" in line and "saga" in line]
    assert {line["saga"] for line in failed} == {bad}


def test_a_failing_undo_names_its_order(installation: Installation, machines: PoolCluster) -> None:
    installation.switches.on(UNDO_FAILS)
    saga = installation.factory.place(UNDO_FAILS, UNSHIPPABLE)
    attention = eventually(lambda: select(read_lines(machines), saga, "undo_keeps_failing"), 60, "the line")
    installation.switches.off(UNDO_FAILS)
    installation.probe.wait_until_rolled_back([saga])

    assert installation.probe.saga(saga).refusal == "StepFailed"
    assert (attention[0]["order"], attention[0]["step"]) == (installation.probe.order_number(saga), STEP)
    assert attention[0]["task"]
    assert attention[0]["attempt"] >= 2
