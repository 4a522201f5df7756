"""The commands of docs/API.md, typed into a shell, against a web process and pools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.documents.markdown import page
from tests.support.polling import eventually
from tests.support.pools import Pools
from tests.support.ports import free_port, listens
from tests.support.processes import ROOT, Process
from tests.support.time_scale import scaled


def test_the_guide_places_an_order_and_follows_it(
    environment: dict[str, str], pools: Pools, spawn: Callable[..., Process]
) -> None:
    port = free_port()
    web = ["manage.py", "runserver", "--noreload", "--skip-checks", f"127.0.0.1:{port}"]
    spawn("web", [sys.executable, *web])
    run(environment, "python manage.py seed_catalog --products 1 --stock 10 --customers 1")
    pools.start_all(kind="threads")
    eventually(lambda: listens(port), 60, "the web process listens")
    create, *curls = page("docs/API.md").commands
    token = run(environment, create).strip()

    answers = [
        json.loads(run({**environment, "TOKEN": token}, curl.replace("localhost:8000", f"localhost:{port}")))
        for curl in curls
    ]

    placed, read, listed, cancelled = answers
    assert (placed["id"], placed["status"], placed["amount"] > 0) == (1, "PENDING", True)
    assert (read["status"], read["ended"]) == ("CONFIRMED", True)
    assert listed == {"orders": [], "next": None}
    assert cancelled["id"] == 1


def run(environment: dict[str, str], command: str) -> Any:
    """What a shell command prints; this run's Python is its ``python``, and it must succeed."""
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"  # noqa: PTH120 - the venv, not its target
    done = subprocess.run(
        ["bash", "-c", command.replace("curl ", "curl --silent --show-error ")],
        cwd=ROOT,
        env={**os.environ, **environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
