"""Points Django at one orders database for all tests of the web application; each test leaves it empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, connections, transaction

from tests.support.postgres import Postgres
from webapp.db import to_django_config
from workers.django_setup import setup

setup()

# Deferred foreign keys allow any order. Deleting a few rows is much faster than a new copy of the template.
EMPTY = """
DO $$ DECLARE name text; BEGIN
    ALTER TABLE audit_sagaevent DISABLE TRIGGER USER;
    FOR name IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
                AND relname ~ '^(api|orders|ordersaga|audit)_|^auth_user|^django_(session|admin_log)$' LOOP
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
    SET CONSTRAINTS ALL IMMEDIATE;
    ALTER TABLE audit_sagaevent ENABLE TRIGGER USER;
END $$
"""


@pytest.fixture(scope="session")
def webapp_database(postgres: Postgres, database_templates: dict[str, str]) -> str:
    return postgres.create_database("webapp", "orders", database_templates["orders"])


@pytest.fixture
def orders_database(webapp_database: str) -> Iterator[str]:
    """The URL of an empty orders database; Django's default connection uses it in every thread."""
    given = connections["default"].settings_dict
    before = dict(given)
    connection.close()
    given.update(to_django_config(webapp_database))
    yield webapp_database
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(EMPTY)
    connection.close()
    given.update(before)
