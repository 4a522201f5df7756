"""Cleans up after the tests even if they are killed, by a helper process that reads from a pipe.

The tests mark everything they start with an environment variable, and send the janitor the names of their
folders. When the pipe closes (at the end, by Ctrl-C or ``kill -9``), the janitor ends every marked process
and removes the folders.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from functools import cache
from pathlib import Path

import psutil

from tests.support.time_scale import scaled

MARK = "ORDERSAGA_TEST_RUN"


class Janitor:
    """The mark of a test run, and its helper process."""

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        environment = {k: v for k, v in os.environ.items() if k != MARK}
        self._helper = subprocess.Popen(
            [sys.executable, "-m", "tests.support.janitor", self.mark],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,  # the janitor ignores Ctrl-C at the terminal
            cwd=Path(__file__).parents[2],
            env=environment,
        )
        atexit.register(self.finish)

    def folder(self, prefix: str) -> Path:
        """Create a folder with a short path (sockets allow 107 characters), removed at the end of the run."""
        base = "/tmp" if os.access("/tmp", os.W_OK) else None  # noqa: S108 - mkdtemp makes a private folder there
        path = Path(tempfile.mkdtemp(prefix=f"os-{prefix}-", dir=base))
        assert self._helper.stdin is not None
        self._helper.stdin.write(f"{path}\n")
        self._helper.stdin.flush()
        return path

    def finish(self) -> None:
        """Close the pipe and wait until everything is cleaned up."""
        if self._helper.stdin is not None and not self._helper.stdin.closed:
            self._helper.stdin.close()
            self._helper.wait(timeout=scaled(30))


@cache
def janitor() -> Janitor:
    """Return the janitor of this run, which the first call starts."""
    return Janitor()


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes that carry ``mark`` in their environment, or descend from one that does."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.update({p.pid: p for p in (process, *process.children(recursive=True))})
        except psutil.Error:
            continue
    return [p for p in found.values() if p.pid != os.getpid()]


def sweep(mark: str) -> None:
    """End every process that carries ``mark``, until none is left."""
    for _ in range(10):
        rest = marked(mark)
        if not rest:
            return
        for process in rest:
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(rest, timeout=5)


def main(mark: str) -> None:
    folders = [line.strip() for line in sys.stdin]
    sweep(mark)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
