"""PgBouncer in front of the databases: pools, web and commands leave no session state, and relays have their
own sessions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest

from ordersaga import sessions
from ordersaga.errors import PoolerRefused
from tests.support.databases import OWNERS, Databases
from tests.support.db_probe import DatabaseProbe
from tests.support.measured import MEASURED
from tests.support.order_factory import OrderFactory
from tests.support.pgbouncer import PgBouncer
from tests.support.pools import Pools
from tests.support.postgres import Postgres
from tests.support.processes import ROOT, Process
from tests.support.time_scale import scaled

CLIENTS = 12
"""The number of server sessions that are checked in each database."""
LEAKS = (
    "enable_seqscan",
    "enable_hashjoin",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "client_connection_check_interval",
    "bytea_output",
)
"""Settings that would leak to other clients of a pooler; PgBouncer itself restores time
zone and date style.
"""


@pytest.fixture(scope="module")
def poolers(postgres: Postgres) -> Iterator[dict[str, PgBouncer]]:
    """A pooler in each mode."""
    started = {mode: PgBouncer(postgres.port, mode, OWNERS).start() for mode in ("transaction", "session")}
    yield started
    for pooler in started.values():
        pooler.stop()


@pytest.fixture
def pooled(databases: Databases, poolers: dict[str, PgBouncer]) -> Databases:
    """Orders and payments through a pooler in transaction mode, inventory through one in session mode."""
    modes = {"orders": "transaction", "inventory": "session", "payments": "transaction"}
    return Databases(
        **{owner: poolers[mode].through(getattr(databases, owner)) for owner, mode in modes.items()}
    )


@pytest.fixture
def environment(databases: Databases, pooled: Databases, vhost: str) -> dict[str, str]:
    """Where sessions are shared, the relays have the server's direct address."""
    direct = {
        f"ORDERSAGA_{owner.upper()}_DIRECT_URL": getattr(databases, owner) for owner in ("orders", "payments")
    }
    return {**pooled.env, **direct, "ORDERSAGA_BROKER_URL": vhost}


def manage(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(90),
    )


def settings_of_other_clients(pooler: PgBouncer, url: str) -> set[tuple[str, ...]]:
    """Return the settings that other clients find in the pooler's server sessions."""
    clients = pooler.held(url, CLIENTS)
    try:
        found = set()
        for client in clients:
            with client.cursor() as cursor:
                cursor.execute(f"SELECT {', '.join(f'current_setting({name!r})' for name in LEAKS)}")
                settings = cursor.fetchone()
                cursor.execute("SELECT count(*) FROM pg_prepared_statements")
                prepared = cursor.fetchone()
                cursor.execute("SELECT count(*) FROM pg_listening_channels()")
                found.add(
                    (*map(str, settings or ()), *map(str, prepared or ()), *map(str, cursor.fetchone() or ()))
                )
        return found
    finally:
        for client in clients:
            client.close()


def test_orders_settle_through_poolers_which_keep_no_state(
    databases: Databases,
    pooled: Databases,
    poolers: dict[str, PgBouncer],
    environment: dict[str, str],
    pools: Pools,
    record_property: Callable[[str, object], None],
) -> None:
    """In transaction mode with a direct address, in session mode without; also while the
    poolers are killed.
    """
    factory, probe = OrderFactory(pooled), DatabaseProbe(databases)
    factory.seed()
    pools.start_all(kind="threads", concurrency=2)
    sagas = factory.place_many(20)
    probe.wait_until_confirmed(sagas, timeout=90)

    untouched = {("on", "on", "0", "0", "0", "read committed", "off", "0", "hex", "0", "0")}
    assert settings_of_other_clients(poolers["transaction"], databases.orders) == untouched
    assert settings_of_other_clients(poolers["transaction"], databases.payments) == untouched

    done = manage(environment, "migrate", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    done = manage(environment, "reconcile")
    assert done.returncode == 0, done.stdout + done.stderr

    for pooler in poolers.values():
        sagas += factory.place_many(10)
        pooler.restart()
    began = time.monotonic()
    probe.wait_until_confirmed(sagas, timeout=90)
    record_property(MEASURED, f"recovered: {time.monotonic() - began:.1f} s after the last pooler's restart")
    assert not probe.dead_letters()
    assert settings_of_other_clients(poolers["transaction"], databases.orders) == untouched


def test_a_relay_without_a_direct_address_is_refused(
    databases: Databases, poolers: dict[str, PgBouncer]
) -> None:
    with pytest.raises(PoolerRefused, match="a relay needs a session"):
        sessions.connect(poolers["transaction"].through(databases.orders), session_for="a relay")


def test_a_clients_time_zone_does_not_leak_to_another(
    databases: Databases, poolers: dict[str, PgBouncer], postgres: Postgres
) -> None:
    """One server session serves both, one after the other."""
    url = poolers["transaction"].through(databases.payments)
    with postgres.connect() as cursor:
        cursor.execute(
            f"ALTER ROLE payments IN DATABASE {databases.names[2]} SET TimeZone = 'Asia/Kathmandu'"
        )
    with closing(sessions.connect(url)) as ours, closing(psycopg2.connect(url)) as theirs:
        for connection, zone in [(ours, "UTC"), (theirs, "Asia/Kathmandu")] * 3:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT current_setting('TimeZone')")
                assert cursor.fetchone() == (zone,)


def test_session_mode_keeps_a_relays_session(databases: Databases, poolers: dict[str, PgBouncer]) -> None:
    connection = sessions.connect(poolers["session"].through(databases.orders), session_for="a relay")
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('idle_in_transaction_session_timeout')")
        assert cursor.fetchone() == ("1min",)
    connection.close()


def test_session_mode_without_a_free_session_is_no_refusal(databases: Databases, postgres: Postgres) -> None:
    """The pooler has one server session, and the relay holds it."""
    pooler = PgBouncer(postgres.port, "session", OWNERS, size=1).start()
    sessions.connect(pooler.through(databases.orders), session_for="a relay").close()
    pooler.stop()


@pytest.mark.parametrize("kind", ["DATABASE", "DIRECT"])
def test_a_pool_that_needs_a_direct_address_says_so(
    environment: dict[str, str], databases: Databases, poolers: dict[str, PgBouncer], kind: str
) -> None:
    name = f"ORDERSAGA_INVENTORY_{kind}_URL"
    env = {**environment, name: poolers["transaction"].through(databases.inventory)}
    worker = Process(
        "refused",
        [sys.executable, "-m", "celery", "-A", "workers.inventory", "worker", "-P", "solo"],
        env=env,
    )
    worker.start()
    assert worker.wait(60) == 1
    *_, line = worker.logs().strip().splitlines()
    assert line.startswith(f"{name} leads to a connection pooler in transaction mode")
    assert "ORDERSAGA_INVENTORY_DIRECT_URL" in line
    assert "Traceback" not in worker.logs()


def test_doctor_names_the_address_that_must_be_direct(
    environment: dict[str, str], databases: Databases, poolers: dict[str, PgBouncer]
) -> None:
    """Also an address that leads to another database than the pooler."""
    env = {
        **environment,
        "ORDERSAGA_INVENTORY_DATABASE_URL": poolers["transaction"].through(databases.inventory),
        "ORDERSAGA_PAYMENTS_DIRECT_URL": databases.payments.replace(databases.names[2], "postgres"),
    }
    done = manage(env, "doctor", "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout, done.stderr
    assert {"database-pooled", "direct-elsewhere"} <= {
        finding["code"] for finding in json.loads(done.stdout)["findings"]
    }
    assert "ORDERSAGA_INVENTORY_DIRECT_URL" in done.stdout
