"""SQLAlchemy as a participant's database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from ordersaga.database import Transaction, borrow


class SqlAlchemyDatabase:
    """A PostgreSQL database by its URL; a step's ``db`` is a :class:`sqlalchemy.orm.Session`.

    Connects when first used. A forked child forgets its parent's connections without closing them.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        os.register_at_fork(after_in_child=self._forget)

    @property
    def dsn(self) -> str:
        """The URL as libpq takes it, password included."""
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False)

    @cached_property
    def engine(self) -> Engine:
        """The engine of this process; each thread holds at most one connection of it while a step runs."""
        url = self._url.set(drivername="postgresql+psycopg2")
        # errors do not tell the parameters of a statement, which are those of a whole batch
        return create_engine(url, pool_size=64, max_overflow=-1, hide_parameters=True, connect_args={"connect_timeout": 5})

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """See :meth:`ordersaga.database.Database.begin`."""
        with Session(self.engine) as session, session.begin():
            yield Transaction(session, borrow(session))

    def discard(self) -> None:
        """See :meth:`ordersaga.database.Database.discard`. Idle connections are closed; others stay with their threads."""
        self.engine.dispose()

    def _forget(self) -> None:
        if "engine" in self.__dict__:
            self.engine.dispose(close=False)
            del self.__dict__["engine"]
