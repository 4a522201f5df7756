"""How much slower this machine is than the one the tests' timeouts were chosen for; every timeout is
multiplied by it.

The factor is measured once, before any server is started, by the process that pytest is started as. Test
processes of xdist and all other children find it in the environment. ``TEST_TIME_SCALE=3 make test`` sets it
by hand instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

VARIABLE = "TEST_TIME_SCALE"
SIDE_BY_SIDE = 2
"""Calibration processes at the same time, as many as ``make test`` starts test processes."""
REFERENCE = 1.25
"""CPU seconds of one calibration process on the machine that the timeouts were chosen for, two cores of an
AMD EPYC.
"""
ROWS = 150_000
WORK = """
import json, sys
total = 0
for number in range(int(sys.argv[1])):
    row = {"saga": str(number), "lines": [number % 7, number % 11], "text": "x" * (number % 50)}
    total += len(json.dumps(row)) + hash(tuple(sorted(row)))
"""
"""Allocation, dictionaries, strings and JSON: what pools and steps spend their time on."""


def measure(rows: int = ROWS) -> float:
    """Seconds that fresh interpreters need for the calibration, side by side; the mean of them."""
    began = time.perf_counter()
    processes = [subprocess.Popen([sys.executable, "-I", "-c", WORK, str(rows)]) for _ in range(SIDE_BY_SIDE)]
    took = []
    for process in processes:
        process.wait()
        took.append(time.perf_counter() - began)
    return sum(took) / len(took)


def time_scale() -> float:
    """The session's factor, at least 1; measured on the first call unless the environment holds it.

    :raises RuntimeError: when the environment's value is not a number of 1 or more.
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
    """A timeout for this machine, from the one for the reference machine."""
    return seconds * time_scale()
