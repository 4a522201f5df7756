"""A process's sign of life: seen while it lives, gone with it, and telling when a part of it hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ordersaga.pulse import STALE, Pulse, lives
from tests.support.time_scale import scaled

FORKED = """
import os, sys, time
from pathlib import Path
from ordersaga.pulse import Pulse
pulse = Pulse(Path(sys.argv[1]), "stock", "stock-1@host", ("consumer", "relay"))
pulse.beat("consumer")
pulse.beat("relay", "the last round failed: OperationalError")
pulse.start()
if os.fork() == 0:
    print("begun", flush=True)
time.sleep(60)
"""


@pytest.fixture
def pulse(tmp_path: Path) -> Pulse:
    return Pulse(tmp_path, "stock", "stock-1@host", ("consumer", "relay"))


def test_who_has_not_begun_is_not_well_and_who_turns_round_is(pulse: Pulse, tmp_path: Path) -> None:
    pulse.beat("relay")
    pulse.start()
    [life] = lives(tmp_path, "stock")
    assert life.faults == {"consumer": "has not begun or lost its connection"}
    pulse.beat("consumer")
    pulse._write()
    [life] = lives(tmp_path, "stock")
    assert (life.pid, life.node, life.faults) == (os.getpid(), "stock-1@host", {})
    assert lives(tmp_path, "sto") == lives(tmp_path, "other") == []
    pulse.stop()
    assert lives(tmp_path, "stock") == []
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_hangs_is_named(pulse: Pulse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pulse.beat("consumer")
    pulse.beat("relay", "the last round failed: OperationalError")
    pulse.start()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + STALE + 5)
    pulse.beat("consumer")
    pulse._write()
    [life] = lives(tmp_path, "stock")
    assert life.faults == {"relay": "has not turned round for 35 s: the last round failed: OperationalError"}
    pulse.stop()


def test_a_part_at_work_is_not_held_to_hang(pulse: Pulse, tmp_path: Path) -> None:
    pulse.beat("relay")
    pulse.occupied = lambda: ("consumer",)
    pulse.start()
    assert lives(tmp_path, "stock")[0].faults == {}
    pulse.stop()


def test_a_child_does_not_keep_a_killed_parent_alive_and_what_is_left_is_removed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", FORKED, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "begun\n"
    try:
        assert lives(tmp_path, "stock")[0].words == {"relay": "the last round failed: OperationalError"}
        parent.kill()
        parent.wait(scaled(10))
        assert lives(tmp_path, "stock") == []
        assert list(tmp_path.iterdir()) == []
    finally:
        os.killpg(parent.pid, signal.SIGKILL)


def test_a_folder_of_another_user_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PermissionError, match="belongs to another user"):
        Pulse(tmp_path, "stock", "n", ()).start()
