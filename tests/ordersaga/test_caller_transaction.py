"""A signal is recorded in the caller's transaction, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from django.db import connections, transaction
from psycopg import AsyncConnection
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from ordersaga import NoTransaction, Saga, Signal, UnknownSaga, WrongDatabase
from ordersaga.envelope import encode_envelope, read_rows
from ordersaga.ids import new_id
from tests.support.databases import Databases
from webapp.db import to_django_config
from workers.django_setup import setup

setup()


class Begun(Signal):
    pass


SAGA = Saga(
    "toy", begins_with=Begun, initiator="orders", participants=["orders"], deadline=timedelta(minutes=1)
)


@contextmanager
def django(url: str) -> Iterator[Any]:
    connections.settings["borrowed"] = {**connections.settings["default"], **to_django_config(url)}
    try:
        yield connections["borrowed"]
    finally:
        connections["borrowed"].close()
        del connections["borrowed"]
        del connections.settings["borrowed"]


@contextmanager
def sqlalchemy(url: str) -> Iterator[Any]:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
    with Session(engine) as session:
        yield session
    engine.dispose()


@contextmanager
def psycopg(url: str) -> Iterator[Any]:
    connection = psycopg2.connect(url)
    yield connection
    connection.close()


@contextmanager
def opened(db: Any) -> Iterator[None]:
    """Open a transaction of the caller, committed at the end."""
    if hasattr(db, "in_atomic_block"):
        with transaction.atomic(using="borrowed"):
            yield
    elif isinstance(db, Session):
        with db.begin():
            yield
    else:
        with db:
            yield


def _start_and_fail(db: Any) -> None:
    with opened(db):
        SAGA.start(Begun(), db=db)
        raise KeyError


def count(url: str, table: str) -> int:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return int(cursor.fetchall()[0][0])


@pytest.mark.parametrize("guest", [django, sqlalchemy, psycopg])
def test_a_saga_commits_and_rolls_back_with_the_caller(databases: Databases, guest: Any) -> None:
    with guest(databases.orders) as db:
        with opened(db):
            SAGA.start(Begun(), db=db)
        assert (count(databases.orders, "ordersaga_saga"), count(databases.orders, "ordersaga_outbox")) == (
            1,
            3,
        )
        with pytest.raises(KeyError):
            _start_and_fail(db)
    assert (count(databases.orders, "ordersaga_saga"), count(databases.orders, "ordersaga_outbox")) == (1, 3)


@pytest.mark.parametrize("guest", [django, sqlalchemy])
def test_recording_outside_a_transaction_raises(databases: Databases, guest: Any) -> None:
    with guest(databases.orders) as db, pytest.raises(NoTransaction):
        SAGA.start(Begun(), db=db)
    assert count(databases.orders, "ordersaga_saga") == 0


def test_autocommit_does_not_count_as_a_transaction(databases: Databases) -> None:
    with psycopg(databases.orders) as connection:
        connection.autocommit = True
        with pytest.raises(NoTransaction, match="autocommit"):
            SAGA.start(Begun(), db=connection)


def test_an_unsupported_connection_is_refused_with_a_remedy() -> None:
    with pytest.raises(TypeError, match="Django, SQLAlchemy or psycopg"):
        SAGA.start(Begun(), db=object())


def test_a_saga_accepts_only_its_declared_signals(
    databases: Databases,
) -> None:
    class Other(Signal):
        pass

    with psycopg(databases.orders) as connection:
        with pytest.raises(TypeError, match="begins with Begun"):
            SAGA.start(Other(), db=connection)
        with pytest.raises(TypeError, match="accepts"):
            SAGA.send("00000000-0000-0000-0000-000000000000", Other(), db=connection)


# -- in one statement with the caller's insert -----------------------------------------------------------

THINGS = "CREATE TABLE thing (id bigint GENERATED ALWAYS AS IDENTITY, name text UNIQUE)"
WRITING = """
begun AS (INSERT INTO thing (name) VALUES (%(thing)s) ON CONFLICT DO NOTHING RETURNING id AS number, name)
"""


class Named(Signal):
    thing: str


NAMING = Saga(
    "toy", begins_with=Named, initiator="orders", participants=["orders"], deadline=timedelta(minutes=1)
)


def name(db: Any, **values: str) -> tuple[Any, ...] | None:
    return NAMING.start_with(WRITING, values, lambda number: Named(thing=number), db=db, saga=new_id())


def _name_and_fail(db: Any) -> None:
    with opened(db):
        assert name(db, thing="tea") == (1, "tea")
        raise KeyError


@pytest.fixture
def things(databases: Databases) -> str:
    with psycopg2.connect(databases.orders) as connection, connection.cursor() as cursor:
        cursor.execute(THINGS)
    return databases.orders


def rows(url: str) -> tuple[int, ...]:
    return tuple(
        count(url, table) for table in ("thing", "ordersaga_saga", "ordersaga_outbox", "ordersaga_pack")
    )


@pytest.mark.parametrize("guest", [django, psycopg])
def test_one_autocommit_statement_writes_a_saga_and_its_row(things: str, guest: Any) -> None:
    with guest(things) as db:
        if guest is psycopg:
            db.autocommit = True
        assert name(db, thing="tea") == (1, "tea")
        assert rows(things) == (1, 1, 3, 1)
        assert name(db, thing="tea") is None
    assert rows(things) == (1, 1, 3, 1)
    with psycopg2.connect(things) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT payload FROM ordersaga_pack")
        [row] = read_rows(encode_envelope("signal.Named", [cursor.fetchall()[0][0]]))
    assert row.data == {"thing": "1"}


@pytest.mark.parametrize("guest", [django, sqlalchemy, psycopg])
def test_in_a_transaction_a_saga_and_its_row_roll_back(things: str, guest: Any) -> None:
    with guest(things) as db:
        with pytest.raises(KeyError):
            _name_and_fail(db)
        assert rows(things) == (0, 0, 0, 0)
        with opened(db):
            name(db, thing="mug")
    assert rows(things) == (1, 1, 3, 1)


def test_a_session_without_a_transaction_is_refused(things: str) -> None:
    with sqlalchemy(things) as db, pytest.raises(NoTransaction):
        name(db, thing="tea")
    assert rows(things) == (0, 0, 0, 0)


def test_a_parameter_that_hides_the_engines_is_refused(things: str) -> None:
    with psycopg(things) as db, pytest.raises(ValueError, match="named topic"):
        name(db, thing="tea", topic="signal.Other")


def test_another_first_signal_is_refused(things: str) -> None:
    with psycopg(things) as db, pytest.raises(TypeError, match="begins with Named"):
        NAMING.start_with(WRITING, {"thing": "tea"}, lambda _: Begun(), db=db, saga=new_id())


@pytest.mark.parametrize("guest", [django, sqlalchemy, psycopg])
def test_a_saga_starts_only_in_its_initiators_database(databases: Databases, guest: Any) -> None:
    for url in (databases.inventory, databases.payments):
        with (
            guest(url) as db,
            opened(db),
            pytest.raises(WrongDatabase, match=r"database of orders, and this is that of \w+:"),
        ):
            SAGA.start(Begun(), db=db)
        assert count(url, "ordersaga_saga") == 0


@pytest.mark.parametrize("guest", [django, sqlalchemy, psycopg])
def test_a_signal_to_an_unknown_saga_is_refused(databases: Databases, guest: Any) -> None:
    with (
        guest(databases.orders) as db,
        opened(db),
        pytest.raises(UnknownSaga, match=r"has no saga .* database of orders"),
    ):
        replace(SAGA, accepts=(Begun,)).send(new_id(), Begun(), db=db)
    assert count(databases.orders, "ordersaga_outbox") == 0


def test_asynchronous_connections_are_refused(databases: Databases) -> None:
    """They would take the statement, return a coroutine that is never awaited, and write nothing."""

    async def try_psycopg() -> None:
        async with await AsyncConnection.connect(databases.orders) as connection:
            with pytest.raises(TypeError, match="AsyncConnection is asynchronous"):
                SAGA.start(Begun(), db=connection)

    asyncio.run(try_psycopg())
    with pytest.raises(TypeError, match="AsyncSession is asynchronous"):
        SAGA.start(
            Begun(),
            db=AsyncSession(
                create_async_engine(databases.orders.replace("postgresql://", "postgresql+psycopg://"))
            ),
        )
