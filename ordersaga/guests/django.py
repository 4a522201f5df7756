"""Django as a participant's database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from django.db import connections, transaction

from ordersaga.database import Transaction


class DjangoDatabase:
    """A database of Django's ``DATABASES`` by its alias; a step's ``db`` is the Django connection.

    A forked child forgets its parent's connections without closing them.
    """

    def __init__(self, alias: str = "default") -> None:
        self.alias = alias
        os.register_at_fork(after_in_child=self._forget)

    @property
    def dsn(self) -> str:
        """A libpq URL made from Django's settings."""
        given: dict[str, Any] = connections[self.alias].settings_dict
        host, query = str(given["HOST"] or ""), {}
        if host.startswith("/"):
            host, query = "", {"host": host}
        user = quote(str(given["USER"] or ""), safe="")
        password = f":{quote(str(given['PASSWORD']), safe='')}" if given["PASSWORD"] else ""
        port = f":{given['PORT']}" if given["PORT"] and host else ""
        if given["PORT"] and not host:
            query["port"] = str(given["PORT"])
        tail = f"?{urlencode(query)}" if query else ""
        return f"postgresql://{user}{password}@{host}{port}/{quote(str(given['NAME']), safe='')}{tail}"

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
