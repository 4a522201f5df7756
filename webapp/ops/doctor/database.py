"""One read-only connection to a database of the settings."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from ordersaga.database import has_tables
from ordersaga.sessions import connect

IDENTITY = """
SELECT current_database(), current_user, (SELECT system_identifier FROM pg_control_system())::text,
    current_setting('server_version_num')::int
"""


class Database:
    """One database.

    :ivar domain: ``orders``, ``inventory``, ``payments``, or ``broker`` for the embedded one.
    :ivar server: the system identifier, equal for all databases of one server.
    """

    def __init__(self, domain: str, url: str) -> None:
        """:raises psycopg2.Error: when it cannot be reached."""
        self.domain, self.url = domain, url
        self._connection: Connection = connect(url, session_for="doctor", application_name="doctor")
        try:
            self._connection.set_session(readonly=True, autocommit=True)
            self.rows("SET statement_timeout = '20s'")
            self.dbname, self.role, self.server, self.version = self.row(IDENTITY)
        except psycopg2.Error:
            self._connection.close()
            raise

    @property
    def name(self) -> str:
        """The name in findings."""
        return f"{self.domain} database"

    def rows(self, statement: str, *values: object) -> list[Any]:
        """Run a statement; return its rows."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def row(self, statement: str, *values: object) -> Any:
        """Run a statement; return its only row."""
        return self.rows(statement, *values)[0]

    def one(self, statement: str, *values: object) -> Any:
        """Run a statement; return the only column of its only row."""
        return self.row(statement, *values)[0]

    def has_tables(self) -> bool:
        """Return whether the engine's tables exist."""
        with self._connection.cursor() as cursor:
            return has_tables(cursor)

    def close(self) -> None:

        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
