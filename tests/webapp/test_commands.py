"""``manage.py migrate`` and ``seed_catalog`` cover all three databases, and a second run changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import psycopg2
import pytest

from tests.support.databases import Databases
from tests.support.processes import ROOT
from tests.support.time_scale import scaled


def manage(databases: Databases | dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    env = databases if isinstance(databases, dict) else databases.env
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=scaled(60),
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
    assert "8 products, 35 units received; 32 customers, 22 wallets filled up" in first.stdout
    assert "8 products, 0 units received; 32 customers, 0 wallets filled up" in second.stdout
    assert one(databases.orders, "SELECT count(*), min(price) > 100 FROM orders_product") == (8, True)
    assert one(databases.inventory, "SELECT count(*), sum(on_hand) FROM product") == (8, 35)
    assert one(databases.payments, "SELECT count(*), count(*) FILTER (WHERE blocked) FROM wallet") == (32, 10)


@pytest.mark.parametrize("option", ["--stock=-1", "--products=x"])
def test_an_invalid_amount_is_refused_by_name(databases: Databases, option: str) -> None:
    refused = manage(databases, "seed_catalog", option)
    assert refused.returncode != 0
    assert option.partition("=")[0] in refused.stderr


def test_the_example_catalogue_matches_its_orders(databases: Databases) -> None:
    first, second = (manage(databases, "seed_catalog", "--example", "cdnow", "--json") for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert json.loads(first.stdout) == {"articles": 1, "units": 20_000, "customers": 2357, "filled": 2349}
    assert json.loads(second.stdout) == {"articles": 1, "units": 0, "customers": 2357, "filled": 0}
    assert one(databases.payments, "SELECT sum(balance), count(DISTINCT currency) FROM wallet") == (
        24_409_194,
        1,
    )


@pytest.mark.parametrize("domain", ["orders", "inventory", "payments"])
def test_an_unreachable_database_is_named(databases: Databases, domain: str) -> None:
    env = {
        **databases.env,
        f"ORDERSAGA_{domain.upper()}_DATABASE_URL": f"postgresql://{domain}@127.0.0.1:1/nowhere",
    }
    refused = manage(env, "seed_catalog")
    assert refused.returncode == 2
    assert f"The {domain} database does not answer" in refused.stderr
    assert f"ORDERSAGA_{domain.upper()}_DATABASE_URL if it names the wrong server." in refused.stderr
    assert "Traceback" not in refused.stderr
