"""Several relays share an outbox: none waits for rows that another has claimed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from unittest.mock import patch

import psycopg2
import pytest

from ordersaga.claim import CLAIM_BYTES, CLAIM_ROWS, claim
from ordersaga.sql import outbox as outbox_sql
from tests.ordersaga.toy_saga import DESK, empty_outbox, toy_database
from tests.support.postgres import Postgres

# Rows that RELEASE selects too: they were deferred because their queue refused them, and are due again.
TWO_ROWS = """
INSERT INTO ordersaga_outbox (participant, topic, signals, payload, fault)
SELECT %(participant)s, %(routing_key)s, 1, '{}', %(fault)s FROM generate_series(1, 2)
"""
VALUES = {
    "participant": DESK, "routing_key": "signal.Heard0", "fault": "its queue is full", "later": 60.0,
    "observed": False, "since": 0.0, "rows": CLAIM_ROWS, "size": CLAIM_BYTES, "first": 30.0, "cap": 600.0,
}  # fmt: skip
STATEMENTS = ["CLAIM", "PREPARE", "PARK", "RELEASE"]


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> Iterator[str]:
    with toy_database(postgres, "claims") as url:
        yield url


@pytest.fixture
def url(database: str) -> str:
    """A database whose outbox has two rows for one queue."""
    empty_outbox(database)
    with closing(psycopg2.connect(database)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(TWO_ROWS, VALUES)
    return database


@pytest.mark.parametrize("statement", STATEMENTS)
def test_rows_claimed_by_another_relay_are_skipped(url: str, statement: str):
    assert rows_taken_beside_a_claim(url, statement) == 1


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_that_waits_for_claimed_rows_is_detected(url: str, statement: str):
    """Tests the test above."""
    waiting = getattr(outbox_sql, statement).replace(" SKIP LOCKED", "")

    with patch.object(outbox_sql, statement, waiting), pytest.raises(psycopg2.errors.LockNotAvailable):
        rows_taken_beside_a_claim(url, statement)


def rows_taken_beside_a_claim(url: str, statement: str) -> int:
    """Count the rows that a relay's statement takes while another transaction has claimed one of two.

    :raises LockNotAvailable: if the statement waits for the claimed row.
    """
    with closing(psycopg2.connect(url)) as claiming, closing(psycopg2.connect(url)) as connection:
        assert claim(claiming.cursor(), DESK, limit=1).rows == 1
        cursor = connection.cursor()
        cursor.execute("SET LOCAL lock_timeout = '200ms'")
        cursor.execute(getattr(outbox_sql, statement), VALUES)
        if statement == "PREPARE":
            cursor.execute(outbox_sql.CLAIM_PREPARED, VALUES)
        return cursor.rowcount
