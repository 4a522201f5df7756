"""SQLAlchemy as a participant's database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import psycopg2
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session

from ordersaga.conninfo import connection_options, connection_string
from ordersaga.database import Transaction, borrow
from ordersaga.sessions import prepare_session

DRIVER = "postgresql+psycopg2://"
"""SQLAlchemy's dialect and driver; the address comes from the connection string."""


class SQLAlchemyDatabase:
    """A PostgreSQL database by its connection string; a step's ``db`` is a :class:`sqlalchemy.orm.Session`.

    :mod:`ordersaga.conninfo` parses the string. The first use connects. A forked child forgets its parent's
    connections without closing them.
    """

    def __init__(self, url: str, *, direct: str = "") -> None:
        """:param direct: the server's direct URL for the relay, if ``url`` leads to a connection pooler."""
        self._options = connection_options(url)
        self._direct = connection_options(direct) if direct else self._options
        os.register_at_fork(after_in_child=self._forget)

    @property
    def dsn(self) -> str:
        """See :attr:`ordersaga.database.Database.dsn`; with default options."""
        return connection_string(self._direct)

    @cached_property
    def engine(self) -> Engine:
        """The engine of this process; a thread uses at most one connection while a step runs."""
        connect = partial(psycopg2.connect, connection_string(self._options))
        # errors must not contain the parameters of a statement, which are those of a whole batch
        engine = create_engine(DRIVER, creator=connect, pool_size=64, max_overflow=-1, hide_parameters=True)
        event.listen(engine, "connect", _prepare)
        return engine

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """See :meth:`ordersaga.database.Database.begin`."""
        with Session(self.engine) as session, session.begin():
            yield Transaction(session, borrow(session))

    def discard(self) -> None:
        """See :meth:`ordersaga.database.Database.discard`; only idle connections are closed."""
        self.engine.dispose()

    def _forget(self) -> None:
        if "engine" in self.__dict__:
            self.engine.dispose(close=False)
            del self.__dict__["engine"]


def _prepare(connection: Any, _record: Any) -> None:
    # behind a pooler the session's default cannot be set, so each BEGIN names the isolation level
    if not prepare_session(connection):
        connection.set_session(isolation_level="READ COMMITTED")
