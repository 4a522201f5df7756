"""The embedded PostgreSQL for the tests: one server for a run, one broker database for a test."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from ordersaga.embedded.server import PORT, SUPERUSER
from tests.support.janitor import MARK, janitor
from webapp.ops import embedded

_numbers = itertools.count(1)


class EmbeddedPostgres:
    """``restart`` and ``stop`` keep the data and the socket."""

    def __init__(self) -> None:
        self.folder = janitor().folder("embedded") / "postgres"
        self.server = self.start()

    def start(self) -> embedded.Embedded:
        with _marked():
            self.server = embedded.start(self.folder)
        return self.server

    def stop(self) -> None:
        embedded.stop(self.folder)

    def restart(self) -> None:
        self.stop()
        self.start()

    @property
    def pid(self) -> int:
        return int((self.folder / "postmaster.pid").read_text().split()[0])

    @contextmanager
    def cursor(self, database: str = "postgres") -> Iterator[Any]:
        """Yield a cursor of the superuser, in autocommit."""
        sockets = str(self.server.sockets)
        connection = psycopg2.connect(dbname=database, user=SUPERUSER, host=sockets, port=PORT)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    @contextmanager
    def broker(self) -> Iterator[BrokerDatabase]:
        """Create a database for a broker."""
        name = f"broker_{next(_numbers)}"
        with self.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {} OWNER broker").format(sql.Identifier(name)))
        yield BrokerDatabase(self, name)
        with self.cursor() as cursor:
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


class BrokerDatabase:
    def __init__(self, postgres: EmbeddedPostgres, name: str) -> None:
        self.postgres = postgres
        self.name = name
        self.sockets: Path = postgres.server.sockets
        self.url = f"pgmq://broker@/{name}?host={self.sockets}&port={PORT}"
        self.conninfo = f"host={self.sockets} port={PORT} dbname={name} user=broker"

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement; return its rows."""
        with self.postgres.cursor(self.name) as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []


@contextmanager
def _marked() -> Iterator[None]:
    """Mark the server's process, so that the janitor ends it."""
    os.environ[MARK] = janitor().mark
    try:
        yield
    finally:
        del os.environ[MARK]
