"""The progress of a command is shown on a terminal, and nowhere else."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

import pytest
from rich.console import Console

from tests.support.databases import Databases
from tests.support.postgres import OWNER, Postgres
from tests.support.processes import ROOT
from tests.support.time_scale import scaled
from webapp.ops.cli.console import show_bar

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run(databases: Databases, *argv: str, stderr: int) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **databases.env, "TERM": "xterm", "COLUMNS": "120"}
    command = [sys.executable, "manage.py", *argv]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=False,
        timeout=scaled(60),
    )


def at_a_terminal(databases: Databases, *argv: str) -> tuple[str, str]:
    """Run a command; return its standard output, which is a pipe, and its standard error, which is a
    terminal.
    """
    ours, theirs = os.openpty()
    shown: list[bytes] = []

    def watch() -> None:
        with suppress(OSError):  # the end of a terminal raises it
            while seen := os.read(ours, 4096):
                shown.append(seen)

    watching = threading.Thread(target=watch)
    watching.start()
    done = run(databases, *argv, stderr=theirs)
    os.close(theirs)
    watching.join(scaled(10))
    os.close(ours)
    return done.stdout, CONTROL.sub("", b"".join(shown).decode(errors="replace"))


def commands(postgres: Postgres) -> dict[tuple[str, ...], list[str]]:
    """The progress texts of each long command, in order."""
    admin = postgres.url("postgres", OWNER)
    return {
        ("seed_catalog", "--products", "5", "--customers", "2"): [
            "catalogue",
            "0 of 3",
            "stock",
            "1 of 3",
            "wallets",
            "2 of 3",
        ],
        ("reconcile",): ["orders", "0 of 0", "totals", "0 of 4", "3 of 4"],
        ("provision", "--dry-run", "--postgres-admin", admin): [
            "orders",
            "0 of 4",
            "payments",
            "2 of 4",
            "broker",
            "3 of 4",
        ],
    }


def test_a_long_command_shows_its_progress_on_a_terminal(databases: Databases, postgres: Postgres) -> None:
    for argv, steps in commands(postgres).items():
        given, shown = at_a_terminal(databases, *argv)
        assert re.search(".*".join(steps), shown, re.DOTALL), f"{argv}: {shown}"
        assert given
        assert not CONTROL.search(given)
        assert " of 3" not in given


def test_no_progress_is_shown_in_a_pipe_or_with_json(databases: Databases, postgres: Postgres) -> None:
    for argv in commands(postgres):
        assert run(databases, *argv, stderr=subprocess.PIPE).stderr == "", argv
        assert at_a_terminal(databases, *argv, "--json")[1] == "", argv


@pytest.fixture
def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, force_interactive=True, width=100)


def test_progress_over_many_items_shows_the_rate(terminal: Console) -> None:
    with show_bar(terminal) as tell:
        tell("orders", 0, 2_000)
        tell("orders", 1_000, 2_000)
        tell("totals", 1, 3)
    shown = CONTROL.sub("", drawn(terminal))
    assert "0 of 2,000" in shown
    assert re.search(r"totals .* 1 of 3 *\n?", shown)
    assert "of 3," not in shown


def test_other_output_is_on_its_own_line(terminal: Console) -> None:
    with show_bar(terminal) as tell:
        tell("orders", 0, 4)
        with tell.aside():
            terminal.file.write("made: role orders\n")
        tell("inventory", 1, 4)
    assert re.search(r"\x1b\[2K(\x1b\[\?25h)?made: role orders\n", drawn(terminal)), repr(drawn(terminal))


def drawn(terminal: Console) -> str:
    file: Any = terminal.file
    return str(file.getvalue())
