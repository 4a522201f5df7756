"""Databases of inventory and payments for tests that need no pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.orm import Session

from tests.support.databases import LOCK_WAITERS, Databases, copies
from tests.support.polling import eventually
from tests.support.postgres import Postgres
from workers.payments.seed import NewWallet, open_wallets


@pytest.fixture(scope="session")
def shared_databases(postgres: Postgres, database_templates: dict[str, str]) -> Databases:
    """One set for many tests: most never commit; the others use their own SKUs, customers and sagas."""
    postgres.ensure()
    return copies(postgres, database_templates)


def _engine(url: str) -> Iterator[Engine]:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg2"))
    yield engine
    engine.dispose()


@pytest.fixture
def inventory_engine(postgres: Postgres, shared_databases: Databases) -> Iterator[Engine]:
    postgres.ensure()
    yield from _engine(shared_databases.inventory)


@pytest.fixture
def payments_engine(postgres: Postgres, shared_databases: Databases) -> Iterator[Engine]:
    postgres.ensure()
    yield from _engine(shared_databases.payments)


@pytest.fixture
def inventory_session(inventory_engine: Engine) -> Iterator[Session]:
    """A transaction in inventory's database that is rolled back."""
    with Session(inventory_engine) as session:
        yield session
        session.rollback()


@pytest.fixture
def payments_session(payments_engine: Engine) -> Iterator[Session]:
    """A transaction in payments' database that is rolled back; customer ``ada`` has 100 cents."""
    with Session(payments_engine) as session:
        open_wallets(session, [NewWallet("ada", "EUR", 100)])
        yield session
        session.rollback()


@pytest.fixture
def wait_for_lock_waiter() -> Callable[[Engine], None]:
    """Returns a function that waits until a session of an engine's database waits for a lock."""

    def wait(engine: Engine) -> None:
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            eventually(
                lambda: connection.scalar(text(LOCK_WAITERS)), what="a session waits for another's lock"
            )

    return wait
