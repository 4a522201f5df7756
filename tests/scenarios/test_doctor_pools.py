"""The doctor, called by a monitor, reports a pool of which no process runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.installation import Installation
from tests.support.polling import eventually
from tests.support.processes import ROOT
from tests.support.time_scale import scaled

POOLS = ("orders", "inventory", "payments", "audit")
KILLED = ("inventory", "audit")
"""A participant and an observer; they are found by different means."""


def absent_pools(installation: Installation, *options: str) -> set[str]:
    """The pools that the doctor reports as absent; its exit status must agree."""
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json", *options],
        cwd=ROOT,
        env={**os.environ, **installation.env},
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
    )
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == (1 if any(f["level"] == "error" for f in findings) else 0), done.stderr
    return {f["where"].removesuffix(" pool") for f in findings if f["code"] == "pool-absent"}


def test_running_pools_are_not_reported(installation: Installation) -> None:
    assert absent_pools(installation) == set()


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_pool_is_reported(installation: Installation, name: str) -> None:
    for worker in installation.pools[name]:
        worker.kill()
    eventually(lambda: absent_pools(installation) == {name}, 30, f"the {name} pool reported")

    installation.pools[name].start()

    eventually(lambda: absent_pools(installation) == set(), 30, "no pool reported")


def test_no_pool_is_reported_before_the_first_start(installation: Installation) -> None:
    with installation.without_pools():
        assert absent_pools(installation) == set(POOLS)
        assert absent_pools(installation, "--no-pools") == set()
