"""Django as a participant's database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction
from django.db.backends.signals import connection_created

from ordersaga.conninfo import connection_string, is_option
from ordersaga.database import Transaction
from ordersaga.sessions import prepare_session

SESSION = "ORDERSAGA_SESSION"
"""A key of an entry of ``DATABASES``: further settings of its sessions, by name."""


class DjangoDatabase:
    """A database of Django's ``DATABASES`` by its alias; a step's ``db`` is the Django connection.

    A forked child forgets its parent's connections without closing them.
    """

    def __init__(self, alias: str = "default", *, direct: str = "") -> None:
        """:param direct: the server's direct URL for the relay, if the alias leads to a connection pooler."""
        self.alias, self._direct = alias, direct
        prepare_sessions()
        os.register_at_fork(after_in_child=self._forget)

    @property
    def dsn(self) -> str:
        """See :attr:`ordersaga.database.Database.dsn`; by default from Django's settings."""
        if self._direct:
            return self._direct
        given: dict[str, Any] = connections[self.alias].get_connection_params()
        return connection_string(
            {name: str(value) for name, value in given.items() if value is not None and is_option(name)}
        )

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """See :meth:`ordersaga.database.Database.begin`."""
        connection = connections[self.alias]
        with transaction.atomic(using=self.alias, durable=True), connection.cursor() as cursor:
            yield Transaction(connection, cursor)

    def discard(self) -> None:
        """See :meth:`ordersaga.database.Database.discard`."""
        connections[self.alias].close()

    def _forget(self) -> None:
        for connection in connections.all(initialized_only=True):
            connection.connection = None


def prepare_sessions() -> None:
    """Prepare the session of each new connection of Django to PostgreSQL; idempotent."""
    connection_created.connect(_prepare, dispatch_uid="ordersaga.sessions")


def _prepare(connection: Any, **_: Any) -> None:
    if connection.vendor != "postgresql":
        return
    driver, settings = connection.connection, connection.settings_dict
    if not prepare_session(driver, settings.get(SESSION, {})):
        # behind a pooler, prepared statements and server-side cursors would affect the next client
        if hasattr(driver, "prepare_threshold"):  # psycopg 3
            from psycopg import IsolationLevel

            driver.prepare_threshold, driver.isolation_level = None, IsolationLevel.READ_COMMITTED
        settings["DISABLE_SERVER_SIDE_CURSORS"] = True
