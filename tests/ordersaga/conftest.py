from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.embedded import BrokerDatabase, EmbeddedPostgres


@pytest.fixture(scope="session")
def embedded_postgres() -> Iterator[EmbeddedPostgres]:
    """The run's embedded server. A test that stops or kills it must start it again."""
    server = EmbeddedPostgres()
    yield server
    server.stop()


@pytest.fixture
def broker(embedded_postgres: EmbeddedPostgres) -> Iterator[BrokerDatabase]:
    """An empty database for a ``pgmq://`` broker."""
    with embedded_postgres.broker() as database:
        yield database
