"""The heartbeat of a process: present while it lives, removed with it, and reporting a hung component."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ordersaga.heartbeat import STALE, Heartbeat, live_processes
from tests.support.time_scale import scaled

FORKED = """
import os, sys, time
from pathlib import Path
from ordersaga.heartbeat import Heartbeat
heartbeat = Heartbeat(Path(sys.argv[1]), "stock", "stock-1@host", ("consumer", "relay"))
heartbeat.report_alive("consumer")
heartbeat.report_alive("relay", "the last round failed: OperationalError")
heartbeat.start()
if os.fork() == 0:
    print("begun", flush=True)
time.sleep(60)
"""


@pytest.fixture
def heartbeat(tmp_path: Path) -> Heartbeat:
    return Heartbeat(tmp_path, "stock", "stock-1@host", ("consumer", "relay"))


def test_a_process_is_healthy_once_its_loop_runs(heartbeat: Heartbeat, tmp_path: Path) -> None:
    heartbeat.report_alive("relay")
    heartbeat.start()
    [life] = live_processes(tmp_path, "stock")
    assert life.faults == {"consumer": "has not begun or lost its connection"}
    heartbeat.report_alive("consumer")
    heartbeat._write()
    [life] = live_processes(tmp_path, "stock")
    assert (life.pid, life.node, life.faults) == (os.getpid(), "stock-1@host", {})
    assert live_processes(tmp_path, "sto") == live_processes(tmp_path, "other") == []
    heartbeat.stop()
    assert live_processes(tmp_path, "stock") == []
    assert list(tmp_path.iterdir()) == []


def test_a_hung_component_is_named(
    heartbeat: Heartbeat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat.report_alive("consumer")
    heartbeat.report_alive("relay", "the last round failed: OperationalError")
    heartbeat.start()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + STALE + 5)
    heartbeat.report_alive("consumer")
    heartbeat._write()
    [life] = live_processes(tmp_path, "stock")
    assert life.faults == {"relay": "has not made a round for 35 s: the last round failed: OperationalError"}
    heartbeat.stop()


def test_a_busy_component_does_not_count_as_hung(heartbeat: Heartbeat, tmp_path: Path) -> None:
    heartbeat.report_alive("relay")
    heartbeat.occupied = lambda: ("consumer",)
    heartbeat.start()
    assert live_processes(tmp_path, "stock")[0].faults == {}
    heartbeat.stop()


def test_a_killed_parents_heartbeat_files_are_removed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", FORKED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "begun\n"
    try:
        assert live_processes(tmp_path, "stock")[0].problems == {
            "relay": "the last round failed: OperationalError"
        }
        parent.kill()
        parent.wait(scaled(10))
        assert live_processes(tmp_path, "stock") == []
        assert list(tmp_path.iterdir()) == []
    finally:
        os.killpg(parent.pid, signal.SIGKILL)


def test_a_folder_of_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PermissionError, match="belongs to another user"):
        Heartbeat(tmp_path, "stock", "n", ()).start()
