"""The transport for kombu, its registration, and Celery's settings for it."""

# mypy: allow-untyped-calls
# kombu is only partly typed.

from __future__ import annotations

import socket
import time
from queue import Empty
from typing import Any
from urllib.parse import quote

import psycopg
from kombu import transport as kombu_transports
from kombu.transport import pgmq as upstream
from kombu.transport import virtual

from ordersaga import conninfo
from ordersaga.celery.pgmq.channel import Channel
from ordersaga.celery.pgmq.connection import DatabaseConnection, Notifier
from ordersaga.errors import ConfigurationError, InvalidConnectionString
from ordersaga.sessions import prepare_own_session

ALIAS = "pgmq"
STATEMENT_TIMEOUT = 15
"""Seconds after which the server cancels a statement; all are short, so a slow one hangs."""


class Transport(upstream.Transport):
    """A transport with a connection for statements and a notifier.

    The loss of either raises a connection error at once: Celery then reconnects and declares again, and
    unacknowledged messages return when their visibility ends.
    """

    Channel = Channel
    connection_errors = (
        *virtual.Transport.connection_errors,
        psycopg.OperationalError,
        psycopg.InterfaceError,
    )

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        self.database = DatabaseConnection(self._connect)
        self._notifier: Notifier | None = None

    @property
    def notifier(self) -> Notifier:
        if self._notifier is None:
            self._notifier = Notifier(self._connect)
        return self._notifier

    def _connect(self) -> psycopg.Connection[Any]:
        """Connect with all options of libpq.

        Upstream: only host, port, database, user and password of ``conn_string`` are used, but no socket
        folder of a URL, and ``DATABASE_URL`` in the environment overrides the broker's URL.
        """
        client: Any = self.client
        options = client.transport_options
        given = options.get("conn_string") or ""
        if given:
            parts = {"password": client.password} if client.password else {}
        else:
            parts = {
                "host": client.hostname or "localhost",
                "port": client.port or self.default_port,
                "dbname": (client.virtual_host or "").strip("/") or "postgres",
                "user": client.userid,
                "password": client.password,
            }
        timeout = options.get("statement_timeout", STATEMENT_TIMEOUT)
        wanted = conninfo.connection_options(
            given,
            **{name: str(value) for name, value in parts.items() if value is not None},
            application_name="ordersaga broker",
        )
        connection = psycopg.connect(conninfo.connection_string(wanted), autocommit=True)
        try:
            limit = {"statement_timeout": str(int(timeout * 1000))}
            prepare_own_session(connection, wanted, "the embedded broker", limit)
        except BaseException:
            connection.close()
            raise
        return connection

    def establish_connection(self) -> Any:
        self.database.rows("SELECT 1")
        return virtual.Transport.establish_connection(self)

    def verify_connection(self, connection: Any) -> bool:
        """Whether the connection is open, without a query.

        Upstream: queries the server before each message.
        """
        return self.database.usable

    def drain_events(self, connection: Any, timeout: float | None = None, **_: Any) -> None:
        """Deliver available messages; otherwise wait for the notifier and poll each ``polling_interval``.

        Polling finds messages without a notification: delayed ones, and those of dead consumers.

        :raises socket.timeout: when no message arrives within ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        interval = self.polling_interval or 1.0
        cycle: Any = self.cycle
        while True:
            try:
                cycle.get(self._deliver, timeout=timeout)
            except Empty:
                left = interval if deadline is None else min(interval, deadline - time.monotonic())
                if left <= 0:
                    raise socket.timeout from None  # noqa: UP041 - kombu's name for it
                self.notifier.wait(left)
            else:
                return

    def close_connection(self, connection: Any) -> None:
        try:
            virtual.Transport.close_connection(self, connection)
        finally:
            notifier, self._notifier = self._notifier, None
            if notifier is not None:
                notifier.close()
            self.database.close()


def install() -> None:
    """Register this transport for ``pgmq://`` in this process; idempotent."""
    name = f"{Transport.__module__}:{Transport.__qualname__}"
    if kombu_transports.TRANSPORT_ALIASES.get(ALIAS) != name:
        kombu_transports.TRANSPORT_ALIASES[ALIAS] = name
        kombu_transports._transport_cache.pop(ALIAS, None)  # it may contain kombu's transport


def broker_settings(url: str, **options: Any) -> dict[str, Any]:
    """Celery's settings for a broker at ``url``, a libpq URL with the scheme ``pgmq``.

    ``pgmq://broker@/broker?host=/run/postgres`` is a socket folder, ``pgmq://user:secret@host:5432/broker`` a
    server. ``options`` override the default transport options. The password stays in ``broker_url``, where
    Celery masks it.

    :raises ConfigurationError: when ``url`` has another scheme or no database.
    """
    scheme = url.partition("://")[0]
    if scheme != ALIAS:
        raise ConfigurationError(f"BROKER: {ALIAS}://user@host/database is wanted, not {scheme}://…")
    try:
        given = conninfo.parse_address(url)
    except InvalidConnectionString as error:
        raise ConfigurationError(f"BROKER: {ALIAS}://user@host/database is wanted: {error}") from None
    secret, user, database = given.pop("password", ""), given.get("user", ""), given.get("dbname", "")
    login = quote(user, safe="") + (f":{quote(secret, safe='')}" if secret else "")
    # for display, and for Celery, which supports one host; the connection uses conn_string
    host, port = conninfo.hosts(given)[0], given.get("port", "").split(",")[0]
    shown = f"{host if host and not host.startswith('/') else 'localhost'}:{port or Transport.default_port}"
    return {
        "broker_url": f"{ALIAS}://{login}{'@' if login else ''}{shown}/{quote(database, safe='')}",
        "broker_transport_options": {
            "conn_string": conninfo.connection_string(given),
            "init_extension": False,
            **options,
        },
    }
