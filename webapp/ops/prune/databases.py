"""Connections to the participants' databases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

import psycopg2

from ordersaga.conninfo import connection_options
from ordersaga.sessions import connect


class Databases:
    """:ivar orders: the initiator's database, with the sagas, the audit trail and the horizon.
    :ivar others: the other databases, without duplicates.
    """

    def __init__(self, orders: str, others: Mapping[str, str]) -> None:
        """:param others: addresses by participant; several may share one database.

        :raises psycopg2.Error: when one cannot be reached; all are needed.
        """
        self._stack = ExitStack()
        try:
            self.orders = self._connect(orders)
            self.others = {
                name: self._connect(url) for name, url in _without_duplicates(orders, others).items()
            }
        except psycopg2.Error:
            self._stack.close()
            raise

    def _connect(self, url: str) -> Any:
        connection = connect(url, application_name="prune")
        self._stack.callback(connection.close)
        return connection

    @property
    def all(self) -> list[Any]:
        """The initiator's is last: an interrupted prune continues by its journal."""
        return [*self.others.values(), self.orders]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _without_duplicates(orders: str, others: Mapping[str, str]) -> dict[str, str]:
    seen, found = [connection_options(orders)], {}
    for name, url in others.items():
        if (options := connection_options(url)) not in seen:
            seen.append(options)
            found[name] = url
    return found


@contextmanager
def transaction(connection: Any) -> Iterator[Any]:
    """Yield a cursor in a transaction, which is rolled back on an exception."""
    with connection, connection.cursor() as cursor:
        yield cursor
