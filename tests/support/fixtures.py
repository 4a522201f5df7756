"""The fixtures of tests on a standing house; the ``conftest.py`` of a folder asks for them by importing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.databases import OWNERS, copies, drop
from tests.support.db_override import participants_at
from tests.support.db_probe import Books
from tests.support.in_process import Theatre
from tests.support.installation import House
from tests.support.measured import MEASURED
from tests.support.order_factory import ASLEEP, Shop
from tests.support.postgres import Postgres
from tests.support.rabbitmq import RabbitMQ


@pytest.fixture(scope="package")
def standing_house(
    request: pytest.FixtureRequest, postgres: Postgres, database_templates: dict[str, str], rabbitmq: RabbitMQ
) -> Iterator[House]:
    """One house for a whole folder of tests."""
    name = request.node.name.replace("/", "-").replace(".", "-") or "house"
    with House(name, postgres, database_templates, rabbitmq) as house:
        yield house


@pytest.fixture
def house(standing_house: House, record_property: Callable[[str, object], None]) -> Iterator[House]:
    """The standing house, in order; when the test ends its books are checked, and what its sagas took is
    kept.
    """
    standing_house.ensure()
    began = standing_house.books.now()
    yield standing_house
    standing_house.books.are_clean()
    record_property(MEASURED, standing_house.books.since(began))


@pytest.fixture
def theatre(standing_theatre: Theatre, record_property: Callable[[str, object], None]) -> Iterator[Theatre]:
    """The folder's theatre; what the test's sagas took is kept for the report."""
    began = standing_theatre.books.now()
    yield standing_theatre
    record_property(MEASURED, standing_theatre.books.since(began))


@pytest.fixture(scope="package")
def standing_theatre(postgres: Postgres, database_templates: dict[str, str]) -> Iterator[Theatre]:
    """The participants in this process, on databases that a folder's tests share; no server dies, so no
    commit waits for it.
    """
    postgres.ensure()
    databases = copies(postgres, database_templates)
    books, shop = Books(databases), Shop(databases, watchdog=ASLEEP)
    for owner in OWNERS:
        books.ask(
            owner,
            f"ALTER DATABASE {getattr(databases, owner).rpartition('/')[2]} SET synchronous_commit = off",
        )
    shop.open()
    with participants_at(databases) as choreography:
        yield Theatre(choreography, shop, books)
    postgres.ensure()
    drop(postgres, databases)
