"""Timeouts follow the machine: the factor is measured once and applies to every kind of wait."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from tests.support.busy import busy_loops
from tests.support.polling import eventually
from tests.support.processes import ROOT, Process
from tests.support.time_scale import VARIABLE, measure, scaled, time_scale

LIMIT = 77


@pytest.fixture
def three_times_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "3")


def test_a_busy_machine_is_measured_as_slower() -> None:
    rows = 20_000
    quiet = min(measure(rows) for _ in range(2))
    with busy_loops(4 * (os.cpu_count() or 1)):
        busy = measure(rows)
    assert busy > 1.5 * quiet


def test_the_factor_is_measured_once_and_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")  # registers the variable, so that monkeypatch restores it
    del os.environ[VARIABLE]
    factor = time_scale()
    assert factor >= 1
    with busy_loops(2):
        assert time_scale() == factor
        code = "from tests.support.time_scale import scaled; print(scaled(1))"
        output = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    assert float(output) == factor


@pytest.mark.parametrize("value", ["0.5", "0", "nan", "inf", "-3", "slow", ""])
def test_an_invalid_factor_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(RuntimeError, match="must be a number of 1 or more"):
        time_scale()


@pytest.mark.usefixtures("three_times_slower")
def test_polling_waits_longer_on_a_slow_machine() -> None:
    began = time.monotonic()
    with pytest.raises(AssertionError, match=r"did not come about within 0\.3 s"):
        eventually(lambda: 0, 0.1)
    assert time.monotonic() - began >= 0.3


@pytest.mark.usefixtures("three_times_slower")
def test_a_process_is_waited_for_longer_on_a_slow_machine() -> None:
    process = Process("sleeper", ["sleep", "600"]).start()
    with pytest.raises(AssertionError, match=r"did not end within 0\.3 s"):
        process.wait(0.1)
    process.kill()


def test_the_limit_of_a_test_is_scaled(request: pytest.FixtureRequest) -> None:
    marker = request.node.get_closest_marker("timeout")
    assert marker.args == (scaled(float(request.config.getini("timeout"))),)


@pytest.mark.timeout(LIMIT)
def test_the_limit_of_a_marked_test_is_scaled(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("timeout").args == (scaled(LIMIT),)


def test_busy_loops_run_beside_a_command_and_end_with_it() -> None:
    code = "import os, psutil; print(*(p.pid for p in psutil.Process(os.getppid()).children())); exit(7)"
    argv = [sys.executable, "-m", "tests.support.busy", "3", sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    beside = [int(pid) for pid in done.stdout.split()]
    assert (done.returncode, len(beside)) == (7, 4)
    assert "3 busy loops ran beside it" in done.stderr
    assert not any(map(psutil.pid_exists, beside))
