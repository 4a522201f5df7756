"""Fixtures of installations that a folder's tests share; the folder's ``conftest.py`` imports them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.databases import OWNERS, copies, drop
from tests.support.db_override import participants_at
from tests.support.db_probe import DatabaseProbe
from tests.support.in_process import InProcessSagas
from tests.support.installation import Installation
from tests.support.measured import MEASURED
from tests.support.order_factory import ASLEEP, OrderFactory
from tests.support.postgres import Postgres
from tests.support.rabbitmq import RabbitMQ


@pytest.fixture(scope="package")
def shared_installation(
    request: pytest.FixtureRequest, postgres: Postgres, database_templates: dict[str, str], rabbitmq: RabbitMQ
) -> Iterator[Installation]:
    """One installation for all tests of a folder."""
    name = request.node.name.replace("/", "-").replace(".", "-") or "installation"
    with Installation(name, postgres, database_templates, rabbitmq) as installation:
        yield installation


@pytest.fixture
def installation(
    shared_installation: Installation, record_property: Callable[[str, object], None]
) -> Iterator[Installation]:
    """The shared installation, reset. After the test, ``reconcile`` must find nothing."""
    shared_installation.ensure()
    began = shared_installation.probe.now()
    yield shared_installation
    shared_installation.probe.wait_until_clean()
    record_property(MEASURED, shared_installation.probe.summary_since(began))


@pytest.fixture
def in_process(
    shared_in_process: InProcessSagas, record_property: Callable[[str, object], None]
) -> Iterator[InProcessSagas]:
    """The folder's participants in this process."""
    began = shared_in_process.probe.now()
    yield shared_in_process
    record_property(MEASURED, shared_in_process.probe.summary_since(began))


@pytest.fixture(scope="package")
def shared_in_process(postgres: Postgres, database_templates: dict[str, str]) -> Iterator[InProcessSagas]:
    """The participants in this process, on databases that a folder's tests share. No server is killed, so
    commits need not wait for the disk.
    """
    postgres.ensure()
    databases = copies(postgres, database_templates)
    probe, factory = DatabaseProbe(databases), OrderFactory(databases, watchdog=ASLEEP)
    for owner in OWNERS:
        probe.query(
            owner,
            f"ALTER DATABASE {getattr(databases, owner).rpartition('/')[2]} SET synchronous_commit = off",
        )
    factory.seed()
    with participants_at(databases) as choreography:
        yield InProcessSagas(choreography, factory, probe)
    postgres.ensure()
    drop(postgres, databases)
