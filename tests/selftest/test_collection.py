"""Every process of a run must collect the same tests, because xdist distributes them by name."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.processes import ROOT

COLLECT = [
    sys.executable,
    "-m",
    "pytest",
    "--collect-only",
    "--quiet",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
]


def test_tests_have_the_same_names_in_every_process() -> None:
    # The order of sets of strings depends on the hash seed, so a name made from a set differs between
    # processes.
    running = [
        subprocess.Popen(
            COLLECT, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True
        )
        for seed in ("2", "3")
    ]
    first, second = [[line for line in one.communicate()[0].splitlines() if "::" in line] for one in running]
    assert len(first) > 1000
    assert set(first) ^ set(second) == set()
    assert first == second
