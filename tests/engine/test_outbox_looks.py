"""A relay looks so often that a look may not read what is of no use to it."""

from __future__ import annotations

import psycopg2

from ordersaga.sql import outbox as sql
from tests.support.databases import Databases

TIMERS = """
INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, saga_id, signals, payload, due_at)
SELECT 'orders', 'deadline', 'signal.DeadlinePassed', 'orders', md5(n::text)::uuid, 1, '{}', now() + interval '1 minute'
FROM generate_series(1, 5000) AS n
"""


def test_a_look_does_not_go_through_the_timers_of_ended_sagas_while_an_old_snapshot_keeps_them(databases: Databases) -> None:
    reader, writer = psycopg2.connect(databases.orders), psycopg2.connect(databases.orders)
    writer.autocommit = True
    try:
        with reader.cursor() as old, writer.cursor() as cursor:
            cursor.execute(TIMERS)
            reader.set_session(isolation_level="REPEATABLE READ")
            old.execute("SELECT count(*) FROM ordersaga_outbox")
            cursor.execute("DELETE FROM ordersaga_outbox WHERE participant = 'orders'")
            cursor.execute(sql.PREPARE)
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE ordersaga_due ('orders')")
            [[[explained]]] = cursor.fetchall()
    finally:
        reader.close()
        writer.close()
    assert explained["Plan"]["Actual Rows"] == 0
    assert explained["Plan"]["Shared Hit Blocks"] < 20
