"""Every command ends with one clear line: on Ctrl-C, a closed pipe or an unreachable server, Django's own
commands too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import psycopg2
import pytest

from tests.support.databases import LOCK_WAITERS, Databases
from tests.support.polling import eventually
from tests.support.postgres import OWNER, Postgres
from tests.support.processes import ROOT, Process
from tests.support.time_scale import scaled
from tests.webapp.test_commands import manage, one
from webapp.ops.cli.console import escape_unprintable

NOWHERE = {"ORDERSAGA_ORDERS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere"}
SUPERUSER = ("createsuperuser", "--noinput", "--username=ann", "--email=")


def test_ctrl_c_during_a_statement_writes_nothing(
    databases: Databases, spawn: Callable[..., Process]
) -> None:
    link = psycopg2.connect(databases.orders)
    with link, link.cursor() as cursor:
        cursor.execute("LOCK TABLE orders_product")
        process = spawn("seed", [sys.executable, "manage.py", "seed_catalog"])
        eventually(lambda: one(databases.orders, LOCK_WAITERS) == (1,), 20, "the command waits for the lock")
        process.send(signal.SIGINT)
        assert process.wait(10) == 130
    link.close()
    assert process.logs().strip().endswith("Stopped.")
    assert "Traceback" not in process.logs()
    assert one(databases.orders, "SELECT count(*) FROM orders_product") == (0,)


def test_ctrl_c_while_loading_exits_silently(spawn: Callable[..., Process]) -> None:
    hangs = "import webapp.ops.cli.main as e; e._execute = {hang}; e.run_command(['manage.py'])"
    hang = "lambda argv, listening: (print('loading', flush=True), __import__('time').sleep(60))"
    process = spawn("loads", [sys.executable, "-c", hangs.format(hang=hang)])
    process.wait_for_log("loading", 10)
    process.send(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT
    assert "Traceback" not in process.logs()


@pytest.mark.parametrize(
    "words",
    ["choreography", "choreography --check --json", "migrate", "reconcile --grace 0", "prune --json",
     "dead_letters list", "doctor --json", "seed_catalog", "help"],
)  # fmt: skip
def test_a_closed_output_pipe_is_not_an_error(words: str, environment: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:
        done = subprocess.run(
            [sys.executable, "manage.py", *words.split()], stdout=output, stderr=subprocess.PIPE,
            cwd=ROOT, env={**os.environ, **environment}, text=True, check=False, timeout=scaled(60),
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("words", [SUPERUSER, ("changepassword", "ann"), ("showmigrations",)])
def test_djangos_commands_name_the_database_they_tried(words: tuple[str, ...]) -> None:
    refused = manage(NOWHERE, *words)
    assert refused.returncode == 2, refused.stderr
    assert "does not answer at 127.0.0.1:1/nowhere" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_djangos_commands_name_migrate_before_tables_exist(postgres: Postgres) -> None:
    refused = manage(
        {"ORDERSAGA_ORDERS_DATABASE_URL": postgres.create_database("unfurnished", "orders")}, *SUPERUSER
    )
    assert refused.returncode == 2, refused.stderr
    assert refused.stderr.strip().endswith("Run: manage.py migrate")
    assert "Traceback" not in refused.stderr


def test_the_traceback_option_shows_the_traceback() -> None:
    refused = manage(NOWHERE, "showmigrations", "--traceback")
    assert refused.returncode == 1
    assert "Traceback" in refused.stderr


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        (
            "REVOKE ALL ON orders_product FROM orders; ALTER TABLE orders_product OWNER TO {owner}",
            "migrate with the role that",
        ),
        ("ALTER DATABASE {name} SET default_transaction_read_only = on", "must name the primary"),
        ("ALTER TABLE orders_product DROP COLUMN price", "Run: manage.py migrate"),
    ],
)
def test_a_database_error_is_shown_with_a_remedy(
    databases: Databases, postgres: Postgres, statement: str, remedy: str
) -> None:
    name = databases.orders.rpartition("/")[2]
    with postgres.connect(name) as cursor:
        cursor.execute(statement.format(owner=OWNER, name=name))
    refused = manage(databases, "seed_catalog")
    assert refused.returncode == 2, refused.stderr
    assert remedy in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("dead_letters", "list", "--participant", "\udcff"), "--participant: use printable characters"),
        (("prune", "--retention", "P99999999D"), "is longer than 36,500 days"),
        (("prune", "--batch", "\u0663"), "is not a number from 1 to 10000"),
        (("place_orders", "", "--format", "csv"), "FILE is empty. Name an existing file"),
        (("migrate", "orders", "--json"), "omit the options that select a part"),
        (
            ("demo", "--folder", "/dev/null/nowhere", "--exit"),
            "Use another folder: manage.py demo --folder FOLDER",
        ),
    ],
)
def test_invalid_options_are_refused_before_any_query(words: tuple[str, ...], expected: str) -> None:
    refused = manage(NOWHERE, *words)
    assert refused.returncode == (1 if words[0] == "demo" else 2)
    assert expected in refused.stderr + refused.stdout
    assert "Traceback" not in refused.stderr


def test_a_database_of_a_newer_release_is_left_alone(databases: Databases) -> None:
    link = psycopg2.connect(databases.payments)
    with link, link.cursor() as cursor:
        cursor.execute("UPDATE alembic_version SET version_num = '9999'")
    link.close()
    for words in (("migrate",), ("migrate", "--check", "--json")):
        refused = manage(databases, *words)
        assert refused.returncode == 2, refused.stderr
        assert (
            "The payments database is newer than this program: its revision 9999 is unknown" in refused.stderr
        )


def test_text_of_a_dead_letter_cannot_control_the_terminal() -> None:
    assert escape_unprintable("red \x1b[31m\ud800\nnext", keep="\n") == "red \\x1b[31m\\ud800\nnext"
