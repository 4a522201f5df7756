"""A connection string means the same to every process, and every session has the settings that the code
needs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import psycopg2
import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, connections
from django.test import Client
from kombu import Connection
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ordersaga.celery.pgmq import broker_settings, install
from ordersaga.conninfo import connection_options, parse
from ordersaga.contrib.django import DjangoDatabase
from ordersaga.contrib.sqlalchemy import SQLAlchemyDatabase
from ordersaga.errors import ConfigurationError
from ordersaga.relay import Relay
from tests.support.db_override import django_at
from tests.support.postgres import PASSWORD, Postgres
from tests.support.processes import ROOT
from tests.support.time_scale import scaled
from tests.webapp.sample_orders import create_products, place
from webapp.db import to_django_config
from webapp.mirrors.router import reader_config
from webapp.ops.doctor.database import Database
from webapp.ops.prune import Databases as Pruned
from webapp.ops.reconcile.snapshots import Snapshot, Unreadable
from workers.migrate import _connect, configuration
from workers.settings import PREFIX, read

Ask = Callable[[str], Any]
REFUSED = (psycopg2.OperationalError, psycopg.OperationalError, DatabaseError, DBAPIError, Unreadable)
"""The errors of drivers and frameworks when a server is refused."""

# -- every way to a participant's database ---------------------------------------------------------------


@contextmanager
def by_django(url: str) -> Iterator[Ask]:
    def query(statement: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0]

    with django_at(url):
        DjangoDatabase()
        yield query


@contextmanager
def by_page_reader(url: str) -> Iterator[Ask]:
    given = connections["inventory_reader"].settings_dict
    before = dict(given)
    connections["inventory_reader"].close()
    given.update(reader_config(url))

    def query(statement: str) -> Any:
        with connections["inventory_reader"].cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0]

    try:
        yield query
    finally:
        connections["inventory_reader"].close()
        given.update(before)


@contextmanager
def by_sqlalchemy(url: str) -> Iterator[Ask]:
    database = SQLAlchemyDatabase(url)

    def query(statement: str) -> Any:
        with database.begin() as tx:
            return tx.db.execute(text(statement)).scalar()

    try:
        yield query
    finally:
        database.discard()


@contextmanager
def _by_relay(dsn: str) -> Iterator[Ask]:
    relay = Relay(dsn, "orders", lambda _: None)

    def query(statement: str) -> Any:
        with relay._connect().cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0]

    try:
        yield query
    finally:
        relay.close()


@contextmanager
def by_djangos_relay(url: str) -> Iterator[Ask]:
    with django_at(url), _by_relay(DjangoDatabase().dsn) as query:
        yield query


@contextmanager
def by_sqlalchemys_relay(url: str) -> Iterator[Ask]:
    with _by_relay(SQLAlchemyDatabase(url).dsn) as query:
        yield query


@contextmanager
def by_migrate(url: str) -> Iterator[Ask]:
    def query(statement: str) -> Any:
        with _connect(configuration("inventory", url=url)) as made:
            return made.execute(text(statement)).scalar()

    yield query


@contextmanager
def by_doctor(url: str) -> Iterator[Ask]:
    with Database("orders", url) as patient:
        yield patient.one


@contextmanager
def by_reconcile(url: str) -> Iterator[Ask]:
    snapshot = Snapshot("orders", url)
    try:
        yield lambda statement: snapshot.rows(statement)[0][0]
    finally:
        snapshot.close()


@contextmanager
def by_prune(url: str) -> Iterator[Ask]:
    with Pruned(url, {}) as databases:

        def query(statement: str) -> Any:
            with databases.orders.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchone()[0]

        yield query


@contextmanager
def by_embedded_broker(url: str) -> Iterator[Ask]:
    install()
    settings = broker_settings(url.replace("postgresql", "pgmq", 1))
    with Connection(settings["broker_url"], transport_options=settings["broker_transport_options"]) as client:

        def query(statement: str) -> Any:
            with client.transport._connect() as made:
                return made.execute(statement).fetchone()[0]

        yield query


WAYS = {
    way.__name__.removeprefix("by_"): way
    for way in (
        by_django,
        by_page_reader,
        by_sqlalchemy,
        by_djangos_relay,
        by_sqlalchemys_relay,
        by_migrate,
        by_doctor,
        by_reconcile,
        by_prune,
        by_embedded_broker,
    )
}
SESSIONS = {name: way for name, way in WAYS.items() if name != "the_embedded_broker"}
"""The processes that read and write dates or times."""


# -- one meaning -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def servers(postgres: Postgres, database_templates: dict[str, str]) -> Iterator[str]:
    """``host:port`` of two servers, each with a database ``same``; the first is read-only."""
    standby = Postgres()
    standby.start()
    for server in (standby, postgres):
        server.create_role("orders")
        server.create_database(
            "same", "orders", database_templates["orders"] if server is postgres else "template1"
        )
    with standby.connect() as cursor:
        cursor.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        cursor.execute("SELECT pg_reload_conf()")
    yield f"127.0.0.1:{standby.port},127.0.0.1:{postgres.port}"
    standby.stop()
    postgres.ensure()
    postgres.drop_databases("same")


@pytest.mark.parametrize("way", WAYS)
def test_every_process_refuses_a_server_without_tls(webapp_database: str, way: str) -> None:
    """With ``sslmode=verify-full``; the tests' servers have no TLS."""
    with (
        pytest.raises(REFUSED, match="does not support SSL"),
        WAYS[way](f"{webapp_database}?sslmode=verify-full") as query,
    ):
        query("SELECT 1")


@pytest.mark.parametrize("way", WAYS)
def test_every_process_finds_the_primary_server(servers: str, postgres: Postgres, way: str) -> None:
    url = f"postgresql://orders:{PASSWORD}@{servers}/same?target_session_attrs=read-write"
    with WAYS[way](url) as query:
        assert query("SELECT inet_server_port()") == postgres.port


@pytest.mark.parametrize("way", WAYS)
def test_options_of_the_string_reach_every_session(webapp_database: str, way: str) -> None:
    with WAYS[way](
        f"{webapp_database}?options=-c%20geqo_seed%3D0.7%20-c%20idle_in_transaction_session_timeout%3D7s"
    ) as query:
        assert query("SELECT current_setting('geqo_seed')") == "0.7"
        assert query("SELECT current_setting('idle_in_transaction_session_timeout')") == (
            "0" if way == "reconcile" else "7s"
        )


@pytest.mark.parametrize("way", WAYS)
def test_passwords_and_services_can_be_in_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, webapp_database: str, way: str
) -> None:
    result = parse(webapp_database)
    services, passwords = tmp_path / "services", tmp_path / "passwords"
    services.write_text(
        f"[shop]\nhost={result['host']}\nport={result['port']}\nuser={result['user']}\ndbname={result['dbname']}\n"
    )
    passwords.write_text(f"*:*:*:*:{PASSWORD}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    with WAYS[way](f"postgresql://?service=shop&passfile={passwords}") as query:
        assert query("SELECT current_database()") == "webapp"


@pytest.mark.parametrize("driver", ["postgresql", "postgres", "postgresql+psycopg2", "postgresql+psycopg"])
def test_a_driver_in_the_scheme_changes_nothing(driver: str) -> None:
    assert parse(f"{driver}://us%40er:p%2Fw@a:1,b:2/na%20me?sslmode=require") == {
        "user": "us@er",
        "password": "p/w",
        "host": "a,b",
        "port": "1,2",
        "dbname": "na me",
        "sslmode": "require",
    }


def test_values_of_the_string_override_defaults() -> None:
    given = connection_options("postgresql://h/db?keepalives_idle=2&connect_timeout=9")
    assert (given["keepalives_idle"], given["connect_timeout"], given["keepalives_count"]) == ("2", "9", "3")


# -- Django's --------------------------------------------------------------------------------------------


def test_a_url_is_parsed_for_django() -> None:
    made = to_django_config("postgresql://us%40er:p%2Fw@db1:6543,db2:6544/na%20me?sslmode=require")
    assert (made["USER"], made["PASSWORD"], made["HOST"], made["PORT"], made["NAME"]) == (
        "us@er", "p/w", "db1,db2", "6543,6544", "na me",
    )  # fmt: skip
    assert made["OPTIONS"]["sslmode"] == "require"


def test_a_socket_folder_is_in_the_query() -> None:
    made = to_django_config("postgresql+psycopg2://orders@/shop?host=/run/sockets&port=5433")
    assert (made["HOST"], made["PORT"], made["NAME"], made["USER"]) == (
        "/run/sockets",
        "5433",
        "shop",
        "orders",
    )


# -- malformed -------------------------------------------------------------------------------------------

MALFORMED = {
    "hunter2": "begins with postgresql://",
    "mysql://a:hunter2@b/c": "begins with postgresql://",
    "postgresql://a:hunter2@b/": "ends with the database's name",
    "postgresql://a:hunter2@b:port/c": "a port that is not a number",
    "postgresql://a:hunter2@b:70000/c": "a port that is not a number",
    "postgresql://a:hunter2@x,y,z/c?port=1,2": "3 hosts and 2 ports",
    "postgresql://a:hunter2@[::1/c": "cannot be read by libpq",
    "postgresql://a:hunter2%zz@b/c": "write it as %25",
    "postgresql://a:hunter2@b/c?sslmod=require": "an option that libpq does not know",
    "postgresql://a:hunter2@b/c?sslmode=required": "verify-full",
    "postgresql://a:hunter2@b/c?target_session_attrs=master": "read-write",
    "postgresql://a:hunter2@b/c?connect_timeout=soon": "connect_timeout that is not a number",
}


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_url_is_refused_without_printing_it(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    variables = [
        f"{owner}_{kind}_URL"
        for owner in ("ORDERS", "INVENTORY", "PAYMENTS")
        for kind in ("DATABASE", "DIRECT")
    ]
    for name in (*variables, "INVENTORY_READER_URL", "PAYMENTS_READER_URL"):
        with monkeypatch.context() as patch:
            patch.setenv(PREFIX + name, url)
            with pytest.raises(ConfigurationError) as refused:
                read()
        output = str(refused.value)
        assert f"{PREFIX}{name}: " in output
        assert MALFORMED[url] in output
        assert "hunter2" not in output
        assert len(output.splitlines()) == 2, "a head, and one sentence"
    with pytest.raises(ValueError, match="a database address"):
        to_django_config(url)


@pytest.mark.parametrize(
    "url", ["pgmq://a:hunter2@b:port/c", "pgmq://a:hunter2@b", "amqp://a:hunter2@b:port//"]
)
def test_a_malformed_broker_url_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv(f"{PREFIX}BROKER_URL", url)
    with pytest.raises(ConfigurationError, match=f"{PREFIX}BROKER_URL: ") as refused:
        read()
    assert "hunter2" not in str(refused.value)


COMMANDS = {
    "pool": (1, ["-m", "celery", "-A", "workers.inventory", "worker"]),
    "web": (1, ["-m", "gunicorn", "--config", "deploy/gunicorn.conf.py"]),
    "health": (2, ["-m", "workers.health", "orders"]),
    "doctor": (2, ["manage.py", "doctor"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_process_exits_at_once_with_the_variables_name(name: str) -> None:
    status, command = COMMANDS[name]
    env = {**os.environ, "ORDERSAGA_ORDERS_DATABASE_URL": "postgresql://a:hunter2@b:port/c"}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
    )
    assert done.returncode == status
    assert "ORDERSAGA_ORDERS_DATABASE_URL: a database address has a port" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


# -- the session's settings ------------------------------------------------------------------------------

STRANGE = {
    "DateStyle": "German",
    "TimeZone": "Asia/Kathmandu",
    "IntervalStyle": "sql_standard",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "idle_in_transaction_session_timeout": "1h",
}
"""Unusual defaults that a database or a role may have."""
WANTED = {
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "idle_in_transaction_session_timeout": "1min",
    "tcp_user_timeout": "30000",
    "tcp_keepalives_idle": "15",
    "client_connection_check_interval": "10s",
}


@pytest.fixture
def unusual_defaults(webapp_database: str, postgres: Postgres) -> Iterator[str]:
    """The web application's database, whose role has unusual defaults."""
    with postgres.connect() as cursor:
        for name, value in STRANGE.items():
            cursor.execute(f"ALTER ROLE orders IN DATABASE webapp SET {name} = '{value}'")
    connections.close_all()
    yield webapp_database
    connections.close_all()
    with postgres.connect() as cursor:
        cursor.execute("ALTER ROLE orders IN DATABASE webapp RESET ALL")


@pytest.mark.parametrize("way", SESSIONS)
def test_a_session_ignores_the_roles_defaults(unusual_defaults: str, way: str) -> None:
    isolation, wanted = "read committed", dict(WANTED)
    if way == "reconcile":  # one snapshot, which waits for the other databases' rows
        isolation, wanted["idle_in_transaction_session_timeout"] = "repeatable read", "0"
    with SESSIONS[way](unusual_defaults) as query:
        assert {name: query(f"SELECT current_setting('{name}')") for name in WANTED} == wanted
        assert query("SELECT current_setting('transaction_isolation')") == isolation


def test_the_reader_of_pages_only_reads(webapp_database: str) -> None:
    with by_page_reader(webapp_database) as query:
        assert query("SELECT current_setting('default_transaction_read_only')") == "on"
        assert query("SELECT current_setting('statement_timeout')") == "5s"


def test_pages_and_orders_work_with_any_role_defaults(orders_database: str, unusual_defaults: str) -> None:
    create_products()
    order = place()
    client = Client(SERVER_NAME="localhost")
    client.force_login(User.objects.create_user("root", is_staff=True, is_superuser=True))

    assert client.get("/admin/orders/order/").status_code == 200
    assert client.get(f"/admin/orders/order/{order.pk}/change/").status_code == 200


def test_the_outbox_is_read_with_any_role_defaults(orders_database: str, unusual_defaults: str) -> None:
    create_products()
    place()
    sent: list[Any] = []
    relay = Relay(DjangoDatabase().dsn, "orders", sent.extend)
    assert relay.drain() > 0
    relay.close()
    assert sent
