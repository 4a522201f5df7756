"""Points Django's default connection and the participants at a test's databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from django.db import connection, connections

from ordersaga import Choreography
from ordersaga.contrib.sqlalchemy import SQLAlchemyDatabase
from tests.support.databases import Databases
from webapp.db import to_django_config


@contextmanager
def django_at(url: str) -> Iterator[None]:
    """Point Django's default connection at ``url``, in every thread."""
    given = connections["default"].settings_dict
    before = dict(given)
    connection.close()
    given.update(to_django_config(url))
    try:
        yield
    finally:
        connection.close()
        given.update(before)


@contextmanager
def participants_at(databases: Databases) -> Iterator[Choreography]:
    """Point the order saga's participants in this process at ``databases``."""
    from workers.choreography import choreography

    whole = choreography()
    inventory, payments = SQLAlchemyDatabase(databases.inventory), SQLAlchemyDatabase(databases.payments)
    try:
        with (
            django_at(databases.orders),
            patch.object(whole.participants["inventory"], "database", inventory),
            patch.object(whole.participants["payments"], "database", payments),
        ):
            yield whole
    finally:
        inventory.discard()
        payments.discard()
