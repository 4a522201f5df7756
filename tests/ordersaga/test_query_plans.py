"""Sagas are found by their ids, whatever PostgreSQL's statistics contain on open sagas."""

from __future__ import annotations

import psycopg2
import pytest

from ordersaga.sql import array
from ordersaga.sql import saga as saga_sql
from tests.support.databases import Databases

STARTED = """
INSERT INTO ordersaga_saga (id, name, status, participants, pack_id, deadline_at, ended_at)
SELECT md5(%(kind)s || n)::uuid, 'toy', %(status)s, '{desk}', 1, now(), CASE WHEN %(ended)s THEN now() END
FROM generate_series(1, 1000) AS n RETURNING id::text
"""


@pytest.fixture
def sagas(databases: Databases) -> list[str]:
    """Four hundred of a thousand sagas that started after the last ANALYZE, when all sagas had ended."""
    with psycopg2.connect(databases.orders) as connection, connection.cursor() as cursor:
        cursor.execute(STARTED, {"kind": "ended", "status": "CONFIRMED", "ended": True})
        cursor.execute("ANALYZE ordersaga_saga")
        cursor.execute(STARTED, {"kind": "open", "status": "CONFIRMED", "ended": False})
        return [saga for (saga,) in cursor.fetchmany(400)]


@pytest.mark.parametrize(
    "name", ["LOCK", "CONFIRM", "ROLL_BACK", "COMPLETE", "MOVED", "CLOSE", "WATCH", "ROUND", "ATTENTION"]
)
def test_sagas_of_an_envelope_are_found_by_their_ids(
    name: str, databases: Databases, sagas: list[str]
) -> None:
    ids = array(sagas)
    values: dict[str, list[object]] = {
        "CONFIRM": [True, ids],
        "ROLL_BACK": [ids, *[["text"] * len(sagas)] * 4],
        "ATTENTION": ["look", ids],
    }
    with psycopg2.connect(databases.orders) as connection, connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {getattr(saga_sql, name)}", values.get(name, [ids]))
        plan = [line for (line,) in cursor.fetchall()]
    assert [line for line in plan if "ordersaga_saga_open" in line] == []
