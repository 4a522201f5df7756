"""``manage.py migrate`` and ``seed_catalog``: all three databases, and a second time changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg2
import pytest

from tests.support.databases import Databases
from tests.support.processes import ROOT


def manage(databases: Databases, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env={**os.environ, **databases.env}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def one(url: str, statement: str) -> tuple[object, ...]:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return tuple(cursor.fetchone() or ())
    finally:
        connection.close()


def test_a_migrated_project_has_nothing_left_to_migrate(databases: Databases) -> None:
    done = manage(databases, "migrate", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "inventory and payments are up to date" in done.stdout


def test_a_seeded_catalogue_is_seeded_once(databases: Databases) -> None:
    wanted = ["seed_catalog", "--products", "5", "--stock", "7", "--customers", "2", "--balance", "900"]
    first, second = manage(databases, *wanted), manage(databases, *wanted)
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "8 articles, 35 units received; 32 customers, 22 wallets filled up" in first.stdout
    assert "8 articles, 0 units received; 32 customers, 0 wallets filled up" in second.stdout
    assert one(databases.orders, "SELECT count(*), min(price) > 100 FROM orders_product") == (8, True)
    assert one(databases.inventory, "SELECT count(*), sum(on_hand) FROM product") == (8, 35)
    assert one(databases.payments, "SELECT count(*), count(*) FILTER (WHERE blocked) FROM wallet") == (32, 10)


@pytest.mark.parametrize("option", ["--stock=-1", "--products=x"])
def test_a_senseless_amount_is_refused_by_its_name(databases: Databases, option: str) -> None:
    refused = manage(databases, "seed_catalog", option)
    assert refused.returncode != 0
    assert option.partition("=")[0] in refused.stderr
