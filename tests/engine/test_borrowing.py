"""A signal is recorded in the caller's transaction, whatever opened it, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from django.db import connections, transaction
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from ordersaga import NoTransaction, Saga, Signal
from tests.support.databases import Databases
from webapp.database_url import django_database
from workers.django import setup

setup()


class Begun(Signal):
    pass


SAGA = Saga("toy", begins_with=Begun, initiator="desk", participants=["desk"], deadline=timedelta(minutes=1))


@contextmanager
def django(url: str) -> Iterator[Any]:
    connections.settings["borrowed"] = {**connections.settings["default"], **django_database(url)}
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
    """A transaction of the caller's own, committed at the end."""
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
def test_a_saga_starts_with_the_callers_commit_and_vanishes_with_its_rollback(databases: Databases, guest: Any) -> None:
    with guest(databases.orders) as db:
        with opened(db):
            SAGA.start(Begun(), db=db)
        assert (count(databases.orders, "ordersaga_saga"), count(databases.orders, "ordersaga_outbox")) == (1, 3)
        with pytest.raises(KeyError):
            _start_and_fail(db)
    assert (count(databases.orders, "ordersaga_saga"), count(databases.orders, "ordersaga_outbox")) == (1, 3)


@pytest.mark.parametrize("guest", [django, sqlalchemy])
def test_no_signal_is_recorded_outside_a_transaction(databases: Databases, guest: Any) -> None:
    with guest(databases.orders) as db, pytest.raises(NoTransaction):
        SAGA.start(Begun(), db=db)
    assert count(databases.orders, "ordersaga_saga") == 0


def test_autocommit_is_no_transaction(databases: Databases) -> None:
    with psycopg(databases.orders) as connection:
        connection.autocommit = True
        with pytest.raises(NoTransaction, match="autocommit"):
            SAGA.start(Begun(), db=connection)


def test_a_stranger_is_told_what_is_wanted() -> None:
    with pytest.raises(TypeError, match="Django, SQLAlchemy or psycopg"):
        SAGA.start(Begun(), db=object())


def test_a_saga_begins_only_with_its_own_signal_and_is_asked_only_what_it_listens_to(databases: Databases) -> None:
    class Other(Signal):
        pass

    with psycopg(databases.orders) as connection:
        with pytest.raises(TypeError, match="begins with Begun"):
            SAGA.start(Other(), db=connection)
        with pytest.raises(TypeError, match="asks"):
            SAGA.ask("00000000-0000-0000-0000-000000000000", Other(), db=connection)
