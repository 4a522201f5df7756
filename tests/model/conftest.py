"""The real participants on one set of databases for all sagas of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, connections

from tests.support.databases import Databases, copies, drop
from tests.support.postgres import Postgres
from webapp.db import to_django_config
from workers.django_setup import setup

setup()

from ordersaga import Choreography  # noqa: E402 - models may be imported once Django is set up
from ordersaga.contrib.sqlalchemy import SQLAlchemyDatabase  # noqa: E402
from tests.model.driver import ModelDriver  # noqa: E402
from workers.inventory.steps import inventory  # noqa: E402
from workers.order_saga import order_saga  # noqa: E402
from workers.orders.steps import orders  # noqa: E402
from workers.payments.steps import payments  # noqa: E402


@pytest.fixture(scope="module")
def databases(postgres: Postgres, database_templates: dict[str, str]) -> Iterator[Databases]:
    """One set for all sagas of a module; each saga has its own product and customer. No test crashes the
    server, so commits need not wait for the disk.
    """
    made = copies(postgres, database_templates)
    with postgres.connect() as cursor:
        for name in made.names:
            cursor.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    yield made
    drop(postgres, made)


@pytest.fixture(scope="module")
def driver(databases: Databases) -> Iterator[ModelDriver]:
    """The three participants on the module's databases."""
    settings = connections["default"].settings_dict
    before = dict(settings), inventory.database, payments.database
    connection.close()
    settings.update(to_django_config(databases.orders))
    inventory.database, payments.database = (
        SQLAlchemyDatabase(url) for url in (databases.inventory, databases.payments)
    )
    driver = ModelDriver(Choreography(order_saga, [orders, inventory, payments]), databases)
    retries = {step.key: step.retry for step in driver.choreography.steps}
    with driver.inject_faults():
        yield driver
    for step in driver.choreography.steps:
        step.retry = retries[step.key]
    connection.close()
    inventory.database.discard()
    payments.database.discard()
    settings.update(before[0])
    inventory.database, payments.database = before[1:]
