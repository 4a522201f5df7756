"""End the demo's processes, from a separate process that reads a pipe.

When the pipe closes for any reason (the end, Ctrl-C, ``kill -9``), it sends SIGTERM and then SIGKILL to the
process groups recorded in ``demo.started``, and stops the embedded PostgreSQL. If the reaper is killed too,
the next demo does this.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from webapp.ops import embedded
from webapp.ops.demo.paths import ROOT, Paths

TERM_SECONDS = 4.0
"""Seconds between SIGTERM and SIGKILL. Work in progress takes less; with the embedded broker Celery's threads
may take longer, and a killed pool loses nothing.
"""


def start_reaper(paths: Paths, lock: int) -> subprocess.Popen[bytes]:
    """Start the reaper; closing its ``stdin`` makes it end everything."""
    return subprocess.Popen(  # noqa: S603 - this module
        [sys.executable, "-m", "webapp.ops.demo.reaper", str(paths.run)],
        stdin=subprocess.PIPE,
        stdout=paths.log("reaper").open("wb"),
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        pass_fds=[lock],
        start_new_session=True,  # Ctrl-C in the terminal must not reach the reaper
    )


def record_started(paths: Paths, pid: int | None = None, *, postgres: bool = False) -> None:
    """Record that the process group ``pid``, or the embedded PostgreSQL, must be ended."""
    what: dict[str, Any] = {"postgres": True} if postgres else {"pid": pid, "since": _created_at(pid or 0)}
    with paths.started.open("a") as file:
        file.write(json.dumps(what) + "\n")


def end_recorded(paths: Paths) -> None:
    """End all that is recorded and still runs; another process with a recorded pid is not touched."""
    try:
        noted = [json.loads(line) for line in paths.started.read_text().splitlines()]
    except FileNotFoundError:
        return
    _log(f"ending {noted}")
    groups = [one["pid"] for one in noted if "pid" in one and _is_same_process(one["pid"], one["since"])]
    _signal(groups, signal.SIGTERM, leader_only=True)
    deadline = time.monotonic() + TERM_SECONDS
    while time.monotonic() < deadline and any(_is_alive(pid) for pid in groups):
        time.sleep(0.05)
    _log(f"still running: {[pid for pid in groups if _is_alive(pid)]}")
    _signal(groups, signal.SIGKILL)
    if any("postgres" in one for one in noted):
        embedded.stop(paths.postgres)
    _log("all ended")
    paths.started.unlink()


def _log(text: str) -> None:
    """Write to the reaper's log; nothing when the demo calls it."""
    if __name__ == "__main__":
        sys.stderr.write(f"{time.strftime('%X')} {text}\n")


def _signal(groups: list[int], number: int, *, leader_only: bool = False) -> None:
    """Signal process groups, or only their leaders: Celery ends its children after their work."""
    for pid in groups:
        with suppress(ProcessLookupError, PermissionError):
            if leader_only:
                os.kill(pid, number)
            else:
                os.killpg(pid, number)


def _is_same_process(pid: int, since: float | None) -> bool:
    """A pid is not reused while its group exists, so the group of a missing leader is the recorded one."""
    born = _created_at(pid)
    return born is None or (since is not None and abs(born - since) < 1)


def _created_at(pid: int) -> float | None:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def main(run: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    end_recorded(Paths(Path(run)))


if __name__ == "__main__":
    main(sys.argv[1])
