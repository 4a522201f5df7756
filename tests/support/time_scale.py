"""Measures how much slower this machine is than the reference machine; every timeout is multiplied by the
factor.

The process that starts pytest measures it once, before any server starts. Test processes of xdist and all
other children read it from the environment. ``TEST_TIME_SCALE=3 make test`` sets it by hand.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

VARIABLE = "TEST_TIME_SCALE"
SIDE_BY_SIDE = 2
"""The number of concurrent calibration processes: as many as ``make test`` starts test processes."""
REFERENCE = 1.25
"""CPU seconds of a calibration process on the reference machine, which has two cores of an AMD EPYC."""
ROWS = 150_000
WORK = """
import json, sys
total = 0
for number in range(int(sys.argv[1])):
    row = {"saga": str(number), "lines": [number % 7, number % 11], "text": "x" * (number % 50)}
    total += len(json.dumps(row)) + hash(tuple(sorted(row)))
"""
"""Allocation, dictionaries, strings and JSON, which is what pools and steps use the CPU for."""


def measure(rows: int = ROWS) -> float:
    """Return the mean CPU seconds of concurrent calibration processes in fresh interpreters."""
    began = time.perf_counter()
    processes = [subprocess.Popen([sys.executable, "-I", "-c", WORK, str(rows)]) for _ in range(SIDE_BY_SIDE)]
    took = []
    for process in processes:
        process.wait()
        took.append(time.perf_counter() - began)
    return sum(took) / len(took)


def time_scale() -> float:
    """Return the session's factor, at least 1; the first call measures it unless the environment has it.

    :raises RuntimeError: if the environment's value is not a number of 1 or more.
    """
    given = os.environ.get(VARIABLE)
    if given is None:
        os.environ[VARIABLE] = given = f"{max(1.0, measure() / REFERENCE):.2f}"
    try:
        factor = float(given)
    except ValueError:
        factor = 0.0
    if not 1 <= factor < float("inf"):
        raise RuntimeError(
            f"{VARIABLE} is {given!r}; it must be a number of 1 or more, by which timeouts are multiplied"
        )
    return factor


def scaled(seconds: float) -> float:
    """Scale a timeout of the reference machine to this machine."""
    return seconds * time_scale()
