"""Sessions of PostgreSQL: what each one is set to, whatever database and role defaults say, and who may have
one.

Behind a connection pooler in transaction mode each transaction may run in another server session, and what
one client sets stays behind for the next. There nothing is set but what PgBouncer itself keeps apart by
client, and what a transaction needs is set within it.
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
"""What the server reports to its client when it changes. PgBouncer restores these for each client."""

IDLE_IN_TRANSACTION = "60s"
"""After so long without a statement the server ends a transaction, and its locks are free: its client hangs,
or is gone.
"""

SETTINGS: Mapping[str, str] = {
    **REPORTED,
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
    "client_connection_check_interval": "10s",
}
"""What a session of ours depends on; client_encoding is given at the connection. The last ones, as TCP's
below, have the server notice within a minute that its client is gone, also while a statement waits for a
lock.
"""

SERVER_TCP: Mapping[str, str] = {
    "tcp_keepalives_idle": "keepalives_idle",
    "tcp_keepalives_interval": "keepalives_interval",
    "tcp_keepalives_count": "keepalives_count",
    "tcp_user_timeout": "tcp_user_timeout",
}
"""The server's end of the connection is given the same times as ours: its setting, and the option of the
connection string.
"""

POOLER = (
    "The database address leads to a connection pooler in transaction mode, such as PgBouncer's, but {0} needs a session "
    "of its own: give it the address of the server itself."
)

# pg_backend_pid() differs from the number the client was told at login: a pooler is in between, and nothing
# is set.
_SET = """
SELECT count(set_config(s.name, s.value, false)) FROM unnest(%s::text[], %s::text[]) AS s(name, value)
WHERE pg_backend_pid() = ANY(%s::int[])
    AND (s.name <> 'client_connection_check_interval' OR version() ~* 'linux|darwin|bsd|solaris|illumos')
"""
_GIVEN = re.compile(r"(?:-c\s*|--)([\w.-]+)\s*=")
_TRIES, _TRY_SECONDS = 5, 2.0


def connect(text: str, *, session_for: str = "", **options: str) -> Any:
    """A connection of psycopg2 by its connection string, with its session prepared.

    :param session_for: who needs a session of its own, as all do that LISTEN, PREPARE or SET. A pooler that
        would give each transaction another session is then refused.
    :param options: of libpq, over those of the string.
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
    """Set what our sessions depend on, in one statement; True when this is a session of our own.

    False behind a pooler: then only :data:`REPORTED` settings are set, where they differ, and ``more`` is
    not.

    :param connection: of psycopg or psycopg2, without a transaction.
    :param more: settings beside ours. Those that the connection string gives as ``options=-c name=value``
        stay as they are.
    :param behind_pooler: set all although a pooler is in between; it must keep this session for this client.
    """
    autocommit, connection.autocommit = (
        connection.autocommit,
        True,
    )  # so that no rollback takes the settings back
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
    """As :func:`prepare_session`, where a session is needed that no other client is given.

    :param options: what ``connection`` was made with.
    :param session_for: who needs it, for the refusal.
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
    # what the engine depends on is no matter of choice; how soon a peer counts as gone is
    return {name: value for name, value in ours.items() if name in REPORTED or name.lower() not in given}


def _shares_sessions(connection: Any, options: Mapping[str, str]) -> bool:
    """Whether two clients are given the same server session, one after the other, which session mode never
    does.
    """
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
    except TimeoutError:  # the pooler has no session left to give: each client holds one
        return False
    finally:
        other.close()
        connection.autocommit = before
    return False


def _wait(connection: Any) -> None:
    """Until a connection in asynchronous mode has done what it was asked.

    :raises TimeoutError: when it takes longer than two seconds.
    """
    deadline = time.monotonic() + _TRY_SECONDS
    while (state := connection.poll()) != POLL_OK:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        read = [connection] if state == POLL_READ else []
        write = [connection] if state == POLL_WRITE else []
        select.select(read, write, [], left)
