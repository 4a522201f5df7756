"""``manage.py choreography --check`` before a deploy: steps with work in progress must still be declared."""

from __future__ import annotations

import json

import psycopg2

from tests.support.databases import Databases
from tests.webapp.test_commands import manage

SAGA = "0198c000-0000-7000-8000-000000000001"
OPEN = """
    INSERT INTO ordersaga_saga (id, name, status, participants, pack_id, deadline_at)
    VALUES (%s, 'order', 'PENDING', '{orders,inventory,payments}', 1, now() + interval '1 hour')
"""
DONE = "INSERT INTO ordersaga_journal (saga_id, step, state, pack_id) VALUES (%s, %s, 'done', 1)"


def write(url: str, statement: str, *values: str) -> None:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
    connection.close()


def test_work_in_progress_of_an_undeclared_step_is_refused(databases: Databases) -> None:
    write(databases.inventory, DONE, SAGA, "inventory.reserve_stock")
    write(databases.inventory, DONE, SAGA, "inventory.hold_stock")

    assert manage(databases, "choreography", "--check").returncode == 0, "no open saga refers to it"

    write(databases.orders, OPEN, SAGA)
    refused = manage(databases, "choreography", "--check")
    assert refused.returncode == 1, refused.stdout
    assert "inventory.hold_stock has work in progress for 1 saga and is not declared" in refused.stderr
    assert 'formerly="hold_stock"' in refused.stderr
    assert "reserve_stock" not in refused.stderr


def test_unreadable_databases_are_named(databases: Databases) -> None:
    nowhere = {**databases.env, "ORDERSAGA_INVENTORY_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere"}

    text, as_json = (
        manage(nowhere, "choreography", "--check"),
        manage(nowhere, "choreography", "--check", "--json"),
    )

    assert (text.returncode, as_json.returncode) == (0, 0), text.stderr
    assert "Not compared with the work in progress of inventory" in text.stdout
    assert list(json.loads(as_json.stdout)["unread"]) == ["inventory"]
