"""PostgreSQL sessions with the settings that the engine depends on, whatever the role's defaults.

Behind a connection pooler in transaction mode, each transaction may run in another server session, and a
setting of one client affects the next. There only settings are set that PgBouncer tracks for each client;
other settings are set within a transaction.
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, POLL_WRITE

from ordersaga.conninfo import connection_options, connection_string
from ordersaga.errors import PoolerRefused

REPORTED: Mapping[str, str] = {
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
    "standard_conforming_strings": "on",
}
"""Settings that the server reports to its client. PgBouncer restores them for each client."""

IDLE_IN_TRANSACTION = "60s"
"""The time without a statement after which the server ends a transaction of a hanging or lost client."""

SETTINGS: Mapping[str, str] = {
    **REPORTED,
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
    "client_connection_check_interval": "10s",
}
"""The settings of each session; ``client_encoding`` is a connection option.

With the last two and TCP keepalives, the server notices a lost client within a minute, even while a statement
waits for a lock.
"""

SERVER_TCP: Mapping[str, str] = {
    "tcp_keepalives_idle": "keepalives_idle",
    "tcp_keepalives_interval": "keepalives_interval",
    "tcp_keepalives_count": "keepalives_count",
    "tcp_user_timeout": "tcp_user_timeout",
}
"""TCP settings of the server, each with the connection option from which it takes its value."""

POOLER = (
    "The database URL leads to a connection pooler in transaction mode, such as PgBouncer, but {0} needs a "
    "session: set the direct URL of the server."
)

# If pg_backend_pid() differs from the process id that the client received at login, a pooler is in between.
_SET = """
SELECT count(set_config(s.name, s.value, false)) FROM unnest(%s::text[], %s::text[]) AS s(name, value)
WHERE pg_backend_pid() = ANY(%s::int[])
    AND (s.name <> 'client_connection_check_interval' OR version() ~* 'linux|darwin|bsd|solaris|illumos')
"""
_GIVEN = re.compile(r"(?:-c\s*|--)([\w.-]+)\s*=")
_TRIES, _TRY_SECONDS = 5, 2.0


def connect(text: str, *, session_for: str = "", **options: str) -> Any:
    """Connect with psycopg2 and prepare the session.

    :param session_for: the component that needs a session for LISTEN, PREPARE or SET; for error messages. A
        pooler in transaction mode is then refused.
    :param options: of libpq; they override those of ``text``.
    :raises psycopg2.OperationalError: when no server can be reached.
    :raises PoolerRefused: see ``session_for``.
    """
    wanted = connection_options(text, **options)
    connection = psycopg2.connect(connection_string(wanted))
    try:
        if session_for:
            prepare_own_session(connection, wanted, session_for)
        else:
            prepare_session(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def prepare_session(
    connection: Any, more: Mapping[str, str] = MappingProxyType({}), *, behind_pooler: bool = False
) -> bool:
    """Set :data:`SETTINGS` and ``more`` with one statement; return False behind a pooler.

    Behind a pooler only :data:`REPORTED` settings are set, where they differ.

    :param connection: of psycopg or psycopg2, without a transaction.
    :param more: further settings. Those of the connection string (``options=-c name=value``) stay.
    :param behind_pooler: set all settings behind a pooler too, which must be in session mode.
    """
    # autocommit, so that no rollback reverts the settings
    autocommit, connection.autocommit = connection.autocommit, True
    try:
        with connection.cursor() as cursor:
            settings = _settings(connection, more)
            pids = [connection.info.backend_pid]
            if behind_pooler:
                cursor.execute("SELECT pg_backend_pid()")
                pids = [cursor.fetchone()[0]]
            cursor.execute(_SET, [list(settings), list(settings.values()), pids])
            if cursor.fetchone()[0]:
                return True
            for name, value in REPORTED.items():
                if connection.info.parameter_status(name) != value:
                    cursor.execute("SELECT set_config(%s, %s, false)", [name, value])
            return False
    finally:
        if not connection.closed:
            connection.autocommit = autocommit


def prepare_own_session(
    connection: Any,
    options: Mapping[str, str],
    session_for: str,
    more: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """As :func:`prepare_session`, for a component that needs a session.

    :param options: of ``connection``.
    :param session_for: the component, for the error message.
    :raises PoolerRefused: behind a pooler in transaction mode.
    """
    if prepare_session(connection, more):
        return
    if _shares_sessions(connection, options):
        raise PoolerRefused(POOLER.format(session_for))
    prepare_session(connection, more, behind_pooler=True)


def _settings(connection: Any, more: Mapping[str, str]) -> dict[str, str]:
    info = connection.info
    options: dict[str, str] = (
        info.dsn_parameters if hasattr(info, "dsn_parameters") else info.get_parameters()
    )
    ours = {**SETTINGS, **more}
    if options.get("keepalives", "1") != "0":
        ours |= {name: options[option] for name, option in SERVER_TCP.items() if option in options}
    given = {name.lower().replace("-", "_") for name in _GIVEN.findall(info.options or "")}
    # REPORTED settings are always set; the others only if the connection string does not set them
    return {name: value for name, value in ours.items() if name in REPORTED or name.lower() not in given}


def _shares_sessions(connection: Any, options: Mapping[str, str]) -> bool:
    """Whether two open clients receive the same server session, as never in session mode."""
    connection.autocommit, before = True, connection.autocommit
    other = psycopg2.connect(connection_string(options), async_=1)
    try:
        _wait(other)
        for _ in range(_TRIES):
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                ours = cursor.fetchone()[0]
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                _wait(other)
                if cursor.fetchall() == [(ours,)]:
                    return True
    except TimeoutError:  # the pooler has no free session, because each client holds one
        return False
    finally:
        other.close()
        connection.autocommit = before
    return False


def _wait(connection: Any) -> None:
    """Wait for the pending operation of an asynchronous connection.

    :raises TimeoutError: after :data:`_TRY_SECONDS`.
    """
    deadline = time.monotonic() + _TRY_SECONDS
    while (state := connection.poll()) != POLL_OK:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        read = [connection] if state == POLL_READ else []
        write = [connection] if state == POLL_WRITE else []
        select.select(read, write, [], left)
