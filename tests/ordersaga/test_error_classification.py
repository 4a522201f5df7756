"""The error of each driver is classified by its SQLSTATE, directly or inside another library's error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import psycopg
import psycopg2
import pytest
from sqlalchemy import Engine, create_engine, text

from ordersaga.classification import ErrorKind, classify, is_of_the_signal
from tests.support.postgres import OWNER, Postgres

KINDS = {
    "08006": ErrorKind.CONNECTION,
    "25P03": ErrorKind.CONNECTION,
    "53300": ErrorKind.CONNECTION,
    "57P01": ErrorKind.CONNECTION,
    "25006": ErrorKind.SERVER,
    "42501": ErrorKind.SERVER,
    "53100": ErrorKind.SERVER,
    "53200": ErrorKind.SERVER,
    "58030": ErrorKind.SERVER,
    "XX001": ErrorKind.SERVER,
    "40001": ErrorKind.CONTENTION,
    "40P01": ErrorKind.CONTENTION,
    "55P03": ErrorKind.CONTENTION,
    "57014": ErrorKind.CONTENTION,
    "42P01": ErrorKind.MISSING_TABLE,
    "22012": ErrorKind.SIGNAL,
    "23505": ErrorKind.SIGNAL,
    "42703": ErrorKind.SIGNAL,
    "P0001": ErrorKind.SIGNAL,
}
RAISE = "DO $$ BEGIN RAISE EXCEPTION 'for a test' USING ERRCODE = '{}'; END $$"


@pytest.fixture(scope="module")
def drivers(postgres: Postgres) -> Iterator[list[Callable[[str], Any]]]:
    url = postgres.url("postgres", OWNER)
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg2://"), isolation_level="AUTOCOMMIT"
    )
    with closing(psycopg2.connect(url)) as two, psycopg.connect(url, autocommit=True) as three:
        two.autocommit = True
        yield [
            lambda statement: two.cursor().execute(statement),
            three.execute,
            partial(execute, engine),
        ]
    engine.dispose()


def execute(engine: Engine, statement: str) -> None:
    with engine.connect() as connection:
        connection.execute(text(statement))


def raised(execute: Callable[[str], Any], state: str) -> Exception:
    with pytest.raises(Exception, match="for a test") as caught:
        execute(RAISE.format(state))
    return caught.value


@pytest.mark.parametrize("state", KINDS)
def test_a_servers_error_is_classified(drivers: list[Callable[[str], Any]], state: str) -> None:
    assert [classify(raised(driver, state)) for driver in drivers] == [KINDS[state]] * 3


def test_an_error_raised_from_a_servers_error(drivers: list[Callable[[str], Any]]) -> None:
    def step() -> None:
        try:
            drivers[0](RAISE.format("53100"))
        except psycopg2.Error as error:
            raise ValueError("the step has failed") from error

    with pytest.raises(ValueError, match="step") as caught:
        step()
    assert classify(caught.value) is ErrorKind.SERVER


def test_a_server_that_does_not_answer(drivers: list[Callable[[str], Any]]) -> None:
    for connect in (psycopg2.connect, psycopg.connect):
        with pytest.raises((psycopg2.OperationalError, psycopg.OperationalError)) as caught:
            connect("postgresql://nobody@127.0.0.1:1/nothing")
        assert classify(caught.value) is ErrorKind.CONNECTION


def test_an_error_of_the_same_name_in_another_library_counts() -> None:
    class OperationalError(Exception):
        """Has the name of kombu's error."""

    assert classify(OperationalError("the broker is away")) is ErrorKind.SIGNAL
    assert is_of_the_signal(OperationalError("the broker is away"))


def test_what_counts_as_an_attempt(drivers: list[Callable[[str], Any]]) -> None:
    counted = {state for state in KINDS if is_of_the_signal(raised(drivers[0], state))}

    assert counted >= {"22012", "23505", "42703", "P0001", "57014"}
    assert counted.isdisjoint({"25006", "42501", "53100", "53200", "58030", "40001", "40P01", "55P03"})
