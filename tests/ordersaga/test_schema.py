"""The engine's tables refuse rows that the protocol does not allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from psycopg2.errors import CheckViolation, NotNullViolation, UniqueViolation

from ordersaga.ids import new_id
from tests.documents.protocol_parser import moves
from tests.support.postgres import Postgres

SAGA = """
INSERT INTO ordersaga_saga (id, name, participants, pack_id, deadline_at)
VALUES (%s, 'order', '{orders}', 1, now())
"""
ROW = "INSERT INTO ordersaga_journal (saga_id, step, state, attempts, pack_id) VALUES (%s, %s, %s, %s, %s)"


@pytest.fixture(scope="module")
def schema(postgres: Postgres, database_templates: dict[str, str]) -> str:
    """One database for all tests; each test has its own sagas."""
    return postgres.create_database("schema", "inventory", database_templates["inventory"])


@pytest.fixture
def cursor(schema: str) -> Iterator[Any]:
    """A cursor in autocommit."""
    connection = psycopg2.connect(schema)
    connection.autocommit = True
    yield connection.cursor()
    connection.close()


def test_a_saga_moves_only_as_the_protocol_allows(cursor: Any) -> None:
    allowed, _ = moves()
    to = {
        "PENDING": "status = 'PENDING', refusal = NULL, ended_at = NULL",
        "CONFIRMED": "status = 'CONFIRMED', refusal = NULL, ended_at = NULL",
        "ROLLING_BACK": "status = 'ROLLING_BACK', refusal = 'X', ended_at = NULL",
        "ROLLED_BACK": "status = 'ROLLED_BACK', refusal = 'X', ended_at = now()",
    }
    ways: dict[str, list[str]] = {
        "PENDING": [],
        "CONFIRMED": ["CONFIRMED"],
        "ROLLING_BACK": ["ROLLING_BACK"],
        "ROLLED_BACK": ["ROLLING_BACK", "ROLLED_BACK"],
    }
    for start, way in ways.items():
        for end, change in to.items():
            if start == end:
                continue
            saga = new_id()
            cursor.execute(SAGA, [saga])
            for state in way:
                cursor.execute(f"UPDATE ordersaga_saga SET {to[state]} WHERE id = %s", [saga])
            move = f"UPDATE ordersaga_saga SET {change} WHERE id = %s"
            if (start, end) in allowed:
                cursor.execute(move, [saga])
            else:
                with pytest.raises(CheckViolation, match="cannot go from"):
                    cursor.execute(move, [saga])


@pytest.mark.parametrize(
    "change",
    [
        "status = 'LOST'",
        "status = 'ROLLING_BACK'",  # without a refusal
        "refusal = 'X'",  # while pending
        "ended_at = now()",  # while pending
        "participants = '{}'",
        "rounds = -1",
    ],
)
def test_an_inconsistent_saga_row_is_refused(cursor: Any, change: str) -> None:
    saga = new_id()
    cursor.execute(SAGA, [saga])
    with pytest.raises(CheckViolation):
        cursor.execute(f"UPDATE ordersaga_saga SET {change} WHERE id = %s", [saga])


def test_a_complete_saga_cannot_roll_back(cursor: Any) -> None:
    saga = new_id()
    cursor.execute(SAGA, [saga])
    cursor.execute("UPDATE ordersaga_saga SET status = 'CONFIRMED', ended_at = now() WHERE id = %s", [saga])
    with pytest.raises(CheckViolation, match="cannot go from"):
        cursor.execute(
            "UPDATE ordersaga_saga SET status = 'ROLLING_BACK', refusal = 'X', ended_at = NULL WHERE id = %s",
            [saga],
        )


def test_a_step_of_a_saga_is_done_once(cursor: Any) -> None:
    saga = new_id()
    cursor.execute(ROW, [saga, "inventory.reserve", "done", 0, 1])
    with pytest.raises(UniqueViolation):
        cursor.execute(ROW, [saga, "inventory.reserve", "done", 0, 2])


@pytest.mark.parametrize(
    ("step", "state", "attempts", "pack"),
    [
        ("inventory.reserve", "finished", 0, 1),
        ("inventory.reserve", "heard", 0, None),  # only a refusal is received
        ("inventory.refusal", "done", 0, 1),
        ("inventory.reserve", "retrying", 0, None),  # no attempt was made
        ("inventory.reserve", "barred", 0, 1),  # a step that never ran has emitted nothing
        ("inventory.reserve", "done", 0, None),
        ("inventory.reserve", "done", -1, 1),
    ],
)
def test_an_inconsistent_journal_row_is_refused(
    cursor: Any, step: str, state: str, attempts: int, pack: Any
) -> None:
    with pytest.raises(CheckViolation):
        cursor.execute(ROW, [new_id(), step, state, attempts, pack])


STATES = ("retrying", "intent", "done", "refused", "void", "barred", "undoing", "undone", "cornered")


def test_a_journal_row_moves_only_as_the_protocol_allows(cursor: Any) -> None:
    _, allowed = moves()
    assert {state for move in allowed for state in move} <= set(STATES)
    for start in STATES:
        for end in STATES:
            saga = new_id()
            silent = ("retrying", "barred")
            cursor.execute(
                ROW,
                [saga, "inventory.reserve", start, int(start == "retrying"), None if start in silent else 1],
            )
            change = "UPDATE ordersaga_journal SET state = %s, attempts = 1, pack_id = %s WHERE saga_id = %s"
            values = [end, None if end in silent else 1, saga]
            if (start, end) in allowed:
                cursor.execute(change, values)
            else:
                with pytest.raises(CheckViolation, match="cannot go from"):
                    cursor.execute(change, values)


@pytest.mark.parametrize("last", ["barred", "undone", "refused", "void"])
def test_a_final_journal_row_never_runs_again(cursor: Any, last: str) -> None:
    saga = new_id()
    pack = None if last == "barred" else 1
    cursor.execute(ROW, [saga, "inventory.reserve", last, 0, pack])
    with pytest.raises(CheckViolation, match="cannot go from"):
        cursor.execute("UPDATE ordersaga_journal SET state = 'done', pack_id = 2 WHERE saga_id = %s", [saga])


def test_done_becomes_refused_only_in_the_same_transaction(cursor: Any) -> None:
    saga, late = new_id(), new_id()
    refuse = "UPDATE ordersaga_journal SET state = 'refused' WHERE saga_id = %s"
    cursor.execute("BEGIN")
    cursor.execute(ROW, [saga, "inventory.reserve", "done", 0, 1])
    cursor.execute(refuse, [saga])
    cursor.execute("COMMIT")
    cursor.execute(ROW, [late, "inventory.reserve", "done", 0, 1])
    with pytest.raises(CheckViolation, match="cannot go from done to refused"):
        cursor.execute(refuse, [late])


@pytest.mark.parametrize(
    "columns",
    [
        "kind = 'retry'",  # a retry without a recipient would reach all participants
        "kind = 'deadline'",  # a timer belongs to a saga
        "payload = NULL",
        "pack_id = 1",  # a payload in two places
        "signals = 0",
    ],
)
def test_an_inconsistent_outbox_row_is_refused(cursor: Any, columns: str) -> None:
    cursor.execute(
        "INSERT INTO ordersaga_outbox (participant, topic, signals, payload) VALUES ('p', 't', 1, '{}')"
    )
    with pytest.raises(CheckViolation):
        cursor.execute(f"UPDATE ordersaga_outbox SET {columns}")


def test_a_saga_has_one_deadline_and_a_dead_letter_once(cursor: Any) -> None:
    saga = new_id()
    timer = (
        "INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, saga_id, signals, payload) "
        "VALUES ('p', 'deadline', 't', 'p', %s, 1, '{}')"
    )
    cursor.execute(timer, [saga])
    with pytest.raises(UniqueViolation):
        cursor.execute(timer, [saga])
    dead_letter = (
        "INSERT INTO ordersaga_dead_letter"
        " (participant, saga_id, step, topic, signal, error, message, traceback, attempts) "
        "VALUES ('p', %s, 's', 't', '{}', 'E', '', '', 1)"
    )
    cursor.execute(dead_letter, [saga])
    with pytest.raises(UniqueViolation):
        cursor.execute(dead_letter, [saga])


def test_an_answer_belongs_to_a_saga_and_counts_once(cursor: Any) -> None:
    saga = new_id()
    cursor.execute(SAGA, [saga])
    cursor.execute("INSERT INTO ordersaga_answer VALUES (%s, 'payments')", [saga])
    with pytest.raises(UniqueViolation):
        cursor.execute("INSERT INTO ordersaga_answer VALUES (%s, 'payments')", [saga])
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        cursor.execute("INSERT INTO ordersaga_answer VALUES (%s, 'payments')", [new_id()])
    with pytest.raises(NotNullViolation):
        cursor.execute("INSERT INTO ordersaga_answer VALUES (%s, NULL)", [saga])
