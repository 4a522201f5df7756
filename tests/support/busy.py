"""Runs a command beside busy loops, as on a slow machine: ``python -m tests.support.busy 2 make test``."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOOP = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"
"""Keeps one core busy until its parent ends."""


@contextmanager
def busy_loops(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run ``count`` processes that each use a whole core."""
    loops = [subprocess.Popen([sys.executable, "-I", "-c", LOOP]) for _ in range(count)]
    try:
        yield loops
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main(count: int, command: list[str]) -> int:
    began = time.monotonic()
    with busy_loops(count):
        status = subprocess.run(command, check=False).returncode
    sys.stderr.write(
        f"{count} busy loops ran beside it for {time.monotonic() - began:.0f} s; exit status {status}\n"
    )
    return status


if __name__ == "__main__":
    if len(sys.argv) < 3 or not sys.argv[1].isdigit():
        sys.exit("usage: python -m tests.support.busy COUNT COMMAND…")
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
