"""The schemas of inventory and payments: the migrations create what the models declare."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import Connection, MetaData, NullPool, create_engine, make_url, text

from tests.support.postgres import Postgres
from tests.support.processes import ROOT
from tests.support.time_scale import scaled
from workers import migrate
from workers.inventory.models import Base as Inventory
from workers.migrate import DOMAINS, Domain
from workers.payments.models import Base as Payments

MODELS: dict[Domain, MetaData] = {"inventory": Inventory.metadata, "payments": Payments.metadata}


@pytest.fixture
def empty(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database."""
    postgres.ensure()
    postgres.create_role("newcomer")
    yield postgres.create_database("empty", "newcomer")
    postgres.drop_databases("empty")


def connect(url: str) -> Connection:
    return create_engine(make_url(url).set(drivername="postgresql+psycopg2"), poolclass=NullPool).connect()


def rules(connection: Connection, schema: str) -> set[tuple[str, str]]:
    """Return every constraint and index of a schema's own tables, by name and definition."""
    found = connection.execute(
        text("""
            SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
            WHERE connamespace = CAST(:schema AS regnamespace)
                AND conrelid::regclass::text !~ 'ordersaga_|alembic_'
            UNION ALL
            SELECT indexname, indexdef FROM pg_indexes
            WHERE schemaname = :schema AND tablename !~ '^(ordersaga|alembic)_'
        """),
        {"schema": schema},
    )
    return {(name, definition.replace(f"{schema}.", "")) for name, definition in found}


@pytest.mark.parametrize("domain", DOMAINS)
def test_migrations_run_forwards_backwards_and_forwards(domain: Domain, empty: str) -> None:
    assert [line.split()[0] for line in migrate.pending(domain, url=empty)] == ["0001"]
    migrate.migrate(domain, url=empty)
    assert migrate.pending(domain, url=empty) == []
    migrate.migrate(domain, url=empty)
    command.downgrade(migrate.configuration(domain, url=empty), "base")
    with connect(empty) as connection:
        left = connection.scalars(
            text("""
                SELECT relname FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relname !~ '^alembic_version'
                UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            """)
        ).all()
    assert left == []
    migrate.migrate(domain, url=empty)


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_models_match_the_migrations(domain: Domain, empty: str) -> None:
    migrate.migrate(domain, url=empty)
    migrate.check(domain, url=empty)
    with connect(empty) as connection:
        connection.execute(text("CREATE SCHEMA models"))
        connection.execute(text("SET search_path = models"))
        MODELS[domain].create_all(connection)
        modelled = rules(connection, "models")
        connection.execute(text("SET search_path = public"))
        assert modelled == rules(connection, "public")


@pytest.mark.parametrize("domain", DOMAINS)
def test_processes_that_start_together_migrate_once(domain: Domain, empty: str) -> None:
    environment = {**os.environ, f"ORDERSAGA_{domain.upper()}_DATABASE_URL": empty}
    argv = [sys.executable, "-m", "workers.migrate", domain]
    started = [subprocess.Popen(argv, cwd=ROOT, env=environment) for _ in range(3)]
    assert [process.wait(timeout=scaled(60)) for process in started] == [0, 0, 0]
    assert migrate.pending(domain, url=empty) == []
