"""``provision`` prepares fresh servers, on which the doctor finds nothing after ``migrate``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg2.errors
import pytest
from django.core.management import CommandError, call_command

from tests.support.postgres import OWNER, Postgres
from tests.support.processes import ROOT
from tests.support.rabbitmq import PASSWORD, USER, RabbitMQ
from tests.support.time_scale import scaled
from webapp.ops.doctor import examine
from webapp.ops.doctor.database import Database
from webapp.ops.doctor.roles import check_reader_role
from webapp.ops.provision import CannotProvision, Plan
from webapp.ops.provision.postgres import Target, connect_as_administrator, ensure_database
from webapp.ops.provision.reader import ensure_reader
from workers.choreography import choreography
from workers.settings import Settings, read

ROLES = {
    "orders": "new_orders",
    "inventory": "new_inventory",
    "payments": "new_payments",
    "broker": "new_broker",
}
SECRET = "p%40ss%2Fw:rd"  # URL-encoded
VHOST = "new/ordersaga"


class Site:
    """Servers on which nothing is provisioned."""

    def __init__(self, postgres: Postgres, rabbitmq: RabbitMQ) -> None:
        self.postgres, self.rabbitmq = postgres, rabbitmq
        self.urls = {
            name: f"postgresql://{role}:{SECRET}@127.0.0.1:{postgres.port}/{role}"
            for name, role in ROLES.items()
        }
        self.amqp = f"amqp://new-pools:{SECRET}@127.0.0.1:{rabbitmq.port}/new%2Fordersaga"
        self.postgres_admin = postgres.url("postgres", OWNER)
        self.rabbitmq_admin = f"http://{USER}:{PASSWORD}@127.0.0.1:{rabbitmq.management_port}"

    def settings(self, **changed: Any) -> Settings:
        urls = {f"{name}_database_url": self.urls[name] for name in ("orders", "inventory", "payments")}
        return read(**{"env": "test", "broker_url": self.amqp, **urls, **changed})

    def clear(self) -> None:
        self.postgres.drop_databases(*ROLES.values())
        with self.postgres.connect() as cursor:
            for role in ROLES.values():
                cursor.execute(f"DROP ROLE IF EXISTS {role}")
        self.rabbitmq.delete_vhost(VHOST)
        self.rabbitmq._ask("DELETE", "users/new-pools")


@pytest.fixture
def site(postgres: Postgres, rabbitmq: RabbitMQ) -> Iterator[Site]:
    postgres.ensure()
    rabbitmq.ensure()
    made = Site(postgres, rabbitmq)
    yield made
    made.clear()


def provision(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ours: Settings, *options: str
) -> dict[str, Any]:
    """Run the command; return its JSON output, with the exit status under ``exit``."""
    monkeypatch.setattr("webapp.ops.management.commands.provision.settings", lambda: ours)
    status = 0
    try:
        call_command("provision", "--json", *options)
    except SystemExit as ended:
        status = int(ended.code or 0)
    return {**json.loads(capsys.readouterr().out), "exit": status}


def test_fresh_servers_are_provisioned_and_healthy(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = site.settings()
    admins = ["--postgres-admin", site.postgres_admin, "--rabbitmq-admin", site.rabbitmq_admin]

    dry = provision(monkeypatch, capsys, ours, *admins, "--dry-run")
    assert dry["exit"] == 1
    assert {"role new_orders", "database new_payments", f"virtual host {VHOST}", "user new-pools"} <= set(
        dry["missing"]
    )
    assert provision(monkeypatch, capsys, ours, *admins, "--dry-run") == dry, "nothing was changed"

    assert provision(monkeypatch, capsys, ours, *admins)["exit"] == 0
    again = provision(monkeypatch, capsys, ours, *admins)
    assert (again["made"], again["left_alone"]) == ([], [])
    assert provision(monkeypatch, capsys, ours, *admins, "--dry-run")["exit"] == 0

    migrate(ours)
    assert (
        examine(
            ours,
            choreography(),
            management=site.rabbitmq_admin.replace(f"{USER}:{PASSWORD}@", ""),
            pools_running=False,
        )
        == []
    )
    assert provision(monkeypatch, capsys, ours, *admins)["made"] == []


def test_the_embedded_broker_is_provisioned_too(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = site.settings(broker_url=site.urls["broker"].replace("postgresql", "pgmq"))
    admin = ["--postgres-admin", site.postgres_admin]

    assert "database new_broker" in provision(monkeypatch, capsys, ours, *admin, "--dry-run")["missing"]
    provision(monkeypatch, capsys, ours, *admin)
    assert provision(monkeypatch, capsys, ours, *admin)["made"] == []
    assert {f.code for f in examine(ours, choreography(), pools_running=False)} == {"migrations-missing"}


def test_excessive_privileges_are_revoked(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = site.settings()
    admins = ["--postgres-admin", site.postgres_admin, "--rabbitmq-admin", site.rabbitmq_admin]
    provision(monkeypatch, capsys, ours, *admins)
    with site.postgres.connect() as cursor:
        cursor.execute("ALTER ROLE new_orders SUPERUSER PASSWORD 'forgotten'")
        cursor.execute("GRANT CONNECT ON DATABASE new_payments TO PUBLIC")
    site.rabbitmq._ask("DELETE", f"queues/{VHOST.replace('/', '%2F')}/payments")

    made = provision(monkeypatch, capsys, ours, *admins)["made"]

    assert made == [
        "role new_orders NOSUPERUSER",
        "password of role new_orders",
        "database new_payments not open to PUBLIC",
        "queue payments",
    ]


def test_a_reader_reads_present_and_future_tables_only(site: Site) -> None:
    owner = Target.of("OWNER", site.urls["inventory"])
    place = Target.of("READER", site.urls["inventory"].replace("//new_inventory:", "//new_reader:"))
    try:
        ensure_database(Plan(dry=False), site.postgres_admin, owner)
        with connect_as_administrator(owner.url) as cursor:
            cursor.execute("CREATE TABLE before (n int)")
        work = Plan(dry=False)
        ensure_reader(work, site.postgres_admin, place, owner)
        with connect_as_administrator(owner.url) as cursor:
            cursor.execute("CREATE TABLE after (n int)")

        with Database("inventory", place.url) as patient:
            assert patient.rows("SELECT * FROM before UNION ALL SELECT * FROM after") == []
            assert list(check_reader_role(patient)) == []
        with (
            connect_as_administrator(place.url) as cursor,
            pytest.raises(psycopg2.errors.ReadOnlySqlTransaction),
        ):
            cursor.execute("INSERT INTO before VALUES (1)")
        again = Plan(dry=False)
        ensure_reader(again, site.postgres_admin, place, owner)
        assert (len(work.missing), again.missing) == (5, [])

        with connect_as_administrator(owner.url) as cursor:
            cursor.execute("GRANT INSERT ON before TO new_reader")
        with Database("inventory", place.url) as patient:
            assert [(f.code, f.evidence) for f in check_reader_role(patient)] == [
                ("reader-may-write", "before")
            ]
    finally:
        site.postgres.drop_databases(owner.database)
        with site.postgres.connect() as cursor:
            cursor.execute("DROP ROLE IF EXISTS new_reader")


@pytest.mark.parametrize("changed", ["orders_database_url", "broker_url"])
def test_settings_of_another_server_are_refused_first(
    site: Site, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    away = site.settings(
        **{changed: f"{getattr(site.settings(), changed).partition(':')[0]}://new:{SECRET}@127.0.0.1:1/new"}
    )
    monkeypatch.setattr("webapp.ops.management.commands.provision.settings", lambda: away)
    option = {"orders_database_url": ["--postgres-admin", site.postgres_admin]}
    with pytest.raises(CommandError, match=rf"ORDERSAGA_{changed.upper()}: .*efused.*must"):
        call_command("provision", *option.get(changed, ["--rabbitmq-admin", site.rabbitmq_admin]))
    with site.postgres.connect() as cursor:
        cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'new'")
        assert cursor.fetchone() == (0,)
    assert "new" not in {vhost["name"] for vhost in site.rabbitmq._ask("GET", "vhosts")}


def test_a_server_other_than_the_administrators_is_detected(site: Site) -> None:
    other = Postgres()
    other.start()
    try:
        with pytest.raises(CannotProvision, match="leads to another server than PLACE"):
            ensure_database(
                Plan(dry=False),
                site.postgres_admin,
                Target.of("PLACE", other.url("new_orders", "new_orders")),
            )
        with site.postgres.connect() as cursor:
            cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'new_orders'")
            assert cursor.fetchone() == (0,)
    finally:
        other.kill()


def test_a_dry_run_names_a_role_once(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readers = {
        f"{n}_reader_url": site.urls[n].replace(f"//{ROLES[n]}:", "//new_reader:")
        for n in ("inventory", "payments")
    }
    result = provision(
        monkeypatch, capsys, site.settings(**readers), "--postgres-admin", site.postgres_admin, "--dry-run"
    )
    assert result["missing"].count("role new_reader") == 1


def migrate(ours: Settings) -> None:
    urls = {
        f"ORDERSAGA_{n.upper()}_DATABASE_URL": getattr(ours, f"{n}_database_url")
        for n in ROLES
        if n != "broker"
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v0"],
        cwd=ROOT, env={**os.environ, **urls}, capture_output=True, text=True, check=False, timeout=scaled(60),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "output"),
    [
        ([], "There is nothing to do"),
        (["--postgres-admin", "mysql://x"], "write postgresql://"),
        (["--postgres-admin", "stock=postgresql://x"], "where DOMAIN is orders"),
        (
            ["--postgres-admin", "postgresql://nobody@127.0.0.1:1/postgres"],
            "Check that PostgreSQL is running",
        ),
        (["--rabbitmq-admin", "mq.local"], "must begin with http"),
        (["--rabbitmq-admin", "http://127.0.0.1:1"], "does not answer"),
    ],
)
def test_an_impossible_change_is_reported_with_a_remedy(
    site: Site, monkeypatch: pytest.MonkeyPatch, options: list[str], output: str
) -> None:
    monkeypatch.setattr("webapp.ops.management.commands.provision.settings", site.settings)
    with pytest.raises(CommandError, match=output) as refused:
        call_command("provision", *options)
    assert refused.value.returncode == 2


def test_the_pools_get_no_administrator_role(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = site.settings(orders_database_url=site.postgres_admin)
    monkeypatch.setattr("webapp.ops.management.commands.provision.settings", lambda: ours)
    with pytest.raises(CommandError, match="names the administrator itself"):
        call_command("provision", "--postgres-admin", site.postgres_admin)
