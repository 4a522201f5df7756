"""Django on a database of the stage's tests: one copy for all of them, emptied after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection, connections, transaction

from tests.support.postgres import Postgres
from webapp.db import to_django_config
from workers.django_setup import setup

setup()

# Deferred foreign keys allow any order; tables of migrations stay. Deleting a few rows is far quicker than a
# new copy.
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
def stage_database(postgres: Postgres, database_templates: dict[str, str]) -> str:
    return postgres.create_database("stage", "orders", database_templates["orders"])


@pytest.fixture
def orders_database(stage_database: str) -> Iterator[str]:
    """The URL of an empty orders database, at which Django's default connection points, in every thread."""
    given = connections["default"].settings_dict
    before = dict(given)
    connection.close()
    given.update(to_django_config(stage_database))
    yield stage_database
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(EMPTY)
    connection.close()
    given.update(before)
