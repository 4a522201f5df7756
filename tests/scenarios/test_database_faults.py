"""A database that accepts connections but fails costs no order an attempt, and work resumes by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg2
import pytest

from ordersaga.heartbeat import live_processes
from tests.support.installation import Installation
from tests.support.polling import eventually, throughout
from tests.support.processes import run_dir
from webapp.ops.doctor.backlog import check_obstacles
from webapp.ops.doctor.database import Database
from webapp.ops.doctor.pg_settings import check_database_settings
from workers.choreography import choreography

REFUSE = """
CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'refused for a test' USING ERRCODE = '{state}'; END $$
"""
STATES = {
    "25006": "read-only transaction",
    "42501": "insufficient privilege",
    "53100": "disk full",
    "53200": "out of memory",
    "58030": "I/O error",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "55P03": "lock timeout",
    "57014": "cancelled statement",
}


def name_of(installation: Installation, owner: str) -> str:
    return str(getattr(installation.databases, owner).rpartition("/")[2])


def admin(installation: Installation, owner: str, *statements: str) -> None:
    with installation.postgres.connect(name_of(installation, owner)) as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def refusing(
    installation: Installation, owner: str, state: str, table: str = "ordersaga_journal"
) -> Iterator[None]:
    """Make each insert into a table fail with this SQLSTATE, by default into the first that every step
    writes.
    """
    admin(
        installation, owner, REFUSE.format(state=state),
        f"CREATE TRIGGER refuse BEFORE INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
    )  # fmt: skip
    try:
        yield
    finally:
        admin(installation, owner, f"DROP TRIGGER refuse ON {table}")


@contextmanager
def read_only(installation: Installation, owner: str) -> Iterator[None]:
    """Make the database read-only, as after a fail-over: sessions end, and sessions that begin meanwhile stay
    read-only.
    """
    name = name_of(installation, owner)
    admin(
        installation,
        owner,
        f'ALTER DATABASE "{name}" SET default_transaction_read_only = on',
        f"""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = '{name}' AND pid <> pg_backend_pid()""",
    )
    try:
        yield
    finally:
        admin(
            installation,
            owner,
            "SET default_transaction_read_only = off",
            f'ALTER DATABASE "{name}" RESET default_transaction_read_only',
        )


def met(installation: Installation, state: str, before: int) -> bool:
    return f"SQLSTATE {state}" in logs(installation, "inventory")[before:]


def words(pool: str) -> str:
    return " ".join(text for life in live_processes(Path(run_dir()), pool) for text in life.problems.values())


def logs(installation: Installation, pool: str) -> str:
    return "".join(worker.process.logs() for worker in installation.pools[pool])


def test_a_server_fault_costs_no_attempt(installation: Installation) -> None:
    dead_letter_count = len(installation.probe.dead_letters())
    sagas = []
    for state, what in STATES.items():
        began = time.monotonic()
        with refusing(installation, "inventory", state):
            before = len(logs(installation, "inventory"))
            sagas += installation.factory.place_many(3)
            eventually(partial(met, installation, state, before), 30, what)
        installation.probe.wait_until_confirmed(sagas)
        assert time.monotonic() - began < 60

    assert [line for saga in sagas for line in installation.probe.audit_trail(saga) if "failed" in line] == []
    assert len(installation.probe.dead_letters()) == dead_letter_count


@pytest.mark.parametrize("owner", ["orders", "inventory", "payments"])
def test_a_read_only_database_delays_orders_only(installation: Installation, owner: str) -> None:
    dead_letter_count = len(installation.probe.dead_letters())
    sagas = installation.factory.place_many(10)
    with read_only(installation, owner):
        if owner != "orders":
            sagas += installation.factory.place_many(10)
            eventually(
                lambda: "waits for its database: ReadOnlySqlTransaction" in words(owner),
                30,
                "the health check names it",
            )
        with Database(owner, getattr(installation.databases, owner)) as patient:
            assert [finding.code for finding in check_database_settings(patient)] == [
                "default-transaction-read-only"
            ]
        throughout(lambda: all(w.process.alive for w in installation.pools.workers), 3, "all pools run")
    installation.probe.wait_until_confirmed(sagas)

    assert len(installation.probe.dead_letters()) == dead_letter_count


def test_an_answer_that_cannot_be_recorded_is_tried_again(installation: Installation) -> None:
    """An error of the code itself must not dead-letter the engine's own signals at once."""
    dead_letter_count = len(installation.probe.dead_letters())
    before = len(logs(installation, "orders"))
    with refusing(installation, "orders", "P0001", "ordersaga_answer"):
        saga = installation.factory.place(customer="poor")
        eventually(
            lambda: "engine_signal_failed_retrying" in logs(installation, "orders")[before:], 30, "a retry"
        )
    installation.probe.wait_until_rolled_back([saga])

    assert len(installation.probe.dead_letters()) == dead_letter_count


def test_a_held_lock_delays_only_its_own_orders(installation: Installation) -> None:
    with psycopg2.connect(installation.databases.inventory) as rival, rival.cursor() as cursor:
        cursor.execute("UPDATE product SET on_hand = on_hand WHERE sku = 'HAT'")
        before = len(logs(installation, "inventory"))
        held_up = installation.factory.place_many(4, "HAT")
        eventually(partial(met, installation, "55P03", before), 30, "waited in vain")
        others = [saga for _ in range(5) for saga in installation.factory.place_many(4, "TEA")]

        installation.probe.wait_until_confirmed(others)
        assert set(installation.probe.statuses(held_up)) == {"PENDING"}
        rival.rollback()
    installation.probe.wait_until_confirmed(held_up)

    assert [
        line for saga in held_up for line in installation.probe.audit_trail(saga) if "failed" in line
    ] == []


def test_orders_waiting_for_a_lock_do_not_delay_others(installation: Installation) -> None:
    """A process that waited long for each order would fall behind without limit."""
    with psycopg2.connect(installation.databases.inventory) as rival, rival.cursor() as cursor:
        cursor.execute("UPDATE product SET on_hand = on_hand WHERE sku = 'HAT'")
        held_up, others = [], []

        def place() -> bool:
            hat, tea = installation.factory.place_all([("HAT",), ("TEA",)])
            held_up.append(hat)
            others.append(tea)
            return True

        throughout(place, 10, "orders are placed")
        installation.probe.wait_until_confirmed(others, timeout=20)
        assert set(installation.probe.statuses(held_up)) == {"PENDING"}
        rival.rollback()
    installation.probe.wait_until_confirmed(held_up)


def test_doctor_names_a_transaction_that_was_left_open(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.ops.doctor.backlog.IDLE_SECONDS", 0)
    with psycopg2.connect(installation.databases.inventory) as rival, rival.cursor() as cursor:
        cursor.execute("LOCK TABLE ordersaga_pack IN ACCESS EXCLUSIVE MODE")
        with Database("inventory", installation.databases.inventory) as patient:
            found = {finding.code: finding.evidence for finding in check_obstacles(patient, choreography())}
        rival.rollback()

    assert found.keys() >= {"database-refuses-writes", "transaction-left-open"}
    assert "lock timeout" in found["database-refuses-writes"]
