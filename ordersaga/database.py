"""A participant's database: borrow the caller's transaction, or begin one for a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from inspect import iscoroutinefunction
from typing import Any, NamedTuple, Protocol

from ordersaga.errors import NoTransaction


class Cursor(Protocol):
    """A DB-API cursor with ``%s`` placeholders that adapts lists to PostgreSQL arrays."""

    @property
    def rowcount(self) -> int: ...
    @property
    def connection(self) -> Any: ...
    def execute(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ..., /) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def fetchone(self) -> Any: ...


class Transaction(NamedTuple):
    """An open transaction: the ``db`` of a step, and the engine's cursor on the same connection."""

    db: Any
    cursor: Cursor


class Database(Protocol):
    """A participant's database. One object serves a process; each thread has a separate connection."""

    @property
    def dsn(self) -> str:
        """The direct connection string of the server; a pooler may not give the relay a session."""

    def begin(self) -> AbstractContextManager[Transaction]:
        """Begin a READ COMMITTED transaction: the end of the block commits it, an exception rolls it back."""

    def discard(self) -> None:
        """Close this thread's connection, if any; the next :meth:`begin` opens a new one."""


def borrow(db: Any, *, planned: bool = False, allow_autocommit: bool = False) -> Cursor:
    """Return a cursor in the caller's open transaction on ``db``; the engine never commits it.

    :param db: a Django connection, a SQLAlchemy session or connection, or a psycopg connection.
    :param planned: whether PostgreSQL may keep the plan of the statement. It does on a Django connection
        whose ``OPTIONS`` have a ``prepare_threshold``, and on a connection of psycopg 3.
    :param allow_autocommit: accept a connection in autocommit, where each statement is a transaction.
    :raises NoTransaction: when no transaction is open.
    :raises TypeError: for other objects, including asynchronous connections.
    """
    if hasattr(db, "in_atomic_block"):  # Django
        if allow_autocommit:
            db.ensure_connection()
        elif not db.in_atomic_block:
            raise NoTransaction(
                "no transaction is open on the Django connection: wrap the call in transaction.atomic()"
            )
        return _planned(db) if planned and getattr(db.connection, "prepare_threshold", None) else _cursor(db)
    if any(iscoroutinefunction(getattr(type(db), act, None)) for act in ("commit", "execute")):
        raise TypeError(f"{type(db).__name__} is asynchronous: pass a synchronous connection or session")
    if hasattr(db, "in_transaction") and (hasattr(db, "get_bind") or hasattr(db, "engine")):  # SQLAlchemy
        if not db.in_transaction():
            raise NoTransaction(
                "no transaction is open on the SQLAlchemy session: use `with session.begin():`"
            )
        connection = db.connection() if hasattr(db, "get_bind") else db
        dbapi = connection.connection
        if getattr(dbapi.dbapi_connection, "autocommit", False):
            raise NoTransaction("the SQLAlchemy connection is in autocommit: use a session with transactions")
        return _cursor(dbapi)
    if hasattr(db, "autocommit") and hasattr(db, "cursor"):  # psycopg2, psycopg
        if db.autocommit and not allow_autocommit:
            raise NoTransaction("the connection is in autocommit: set autocommit = False")
        return _cursor(db)
    raise TypeError(
        f"{type(db).__name__} has no transaction to borrow: pass a Django, SQLAlchemy or psycopg connection"
    )


def address_of(cursor: Cursor) -> tuple[object, ...]:
    """Host, port and database of a cursor, from its connection's parameters."""
    info = cursor.connection.info
    return info.host, info.port, info.dbname


def _cursor(connection: Any) -> Cursor:
    cursor: Cursor = connection.cursor()
    return cursor


def _planned(db: Any) -> Cursor:
    """A cursor with server-side parameters; Django's client-side ones prevent prepared plans."""
    from psycopg import Cursor as ServerCursor

    wrap = db.make_debug_cursor if db.queries_logged else db.make_cursor
    cursor: Cursor = wrap(ServerCursor(db.connection))
    return cursor


TABLES_MISSING = "its tables are missing; create them with: manage.py migrate"
"""The problem of a database that answers and is not migrated."""

_DRIVERS = frozenset({"psycopg2", "psycopg", "sqlalchemy", "django"})
# 08: connection; 28: login; 25P03: idle in transaction; 3D000: no such database; 53300: no connection left;
# 57P01-3: shutting down, crashed, starting; 57P05: idle
_CONNECTION_STATES = frozenset({"25P03", "3D000", "53300", "57P01", "57P02", "57P03", "57P05"})


def is_connection_error(error: BaseException) -> bool:
    """Whether a driver reports that the database cannot be reached, or that it closed the connection."""
    if state := sqlstate_of(error):
        return state[:2] in ("08", "28") or state in _CONNECTION_STATES
    kinds = {each.__name__ for each in type(error).__mro__}
    return (
        bool(kinds & {"OperationalError", "InterfaceError"})
        and type(error).__module__.partition(".")[0] in _DRIVERS
    )


def is_answering(cursor: Cursor) -> bool:
    """Whether the database answers at all."""
    cursor.execute("SELECT 1")
    return True


def has_tables(cursor: Cursor) -> bool:
    """Whether the engine's tables exist; its migration creates the outbox among the last."""
    cursor.execute("SELECT to_regclass('ordersaga_outbox') IS NOT NULL")
    return bool(cursor.fetchone()[0])


def is_writable(cursor: Cursor) -> bool:
    """Check that the engine's tables accept rows; this leaves no row behind.

    :raises Exception: the database's error if they do not.
    """
    cursor.execute(
        "INSERT INTO ordersaga_pack (id, topic, payload) VALUES (nextval('ordersaga_pack_id'), 'probe', '{}')"
    )
    cursor.execute("DELETE FROM ordersaga_pack WHERE id = currval('ordersaga_pack_id') AND topic = 'probe'")
    return True


def first_line(error: BaseException) -> str:
    """The first line of an error's message without its full stop, for use within a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def fault_of(error: BaseException) -> str:
    """The SQLSTATE of an error and the names of its table, column and constraint, without values of a row.

    Empty if it is not an error of the database.
    """
    state = sqlstate_of(error)
    if state is None:
        return ""
    diagnosis = next((each.diag for each in _inner(error) if hasattr(each, "diag")), None)
    names = [f"{part} {name}" for part in _PARTS if (name := getattr(diagnosis, f"{part}_name", None))]
    return ", ".join([f"SQLSTATE {state}", *names])


_PARTS = ("table", "column", "constraint")


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE of a driver's error, also if SQLAlchemy or Django wraps it."""
    for each in _inner(error):
        if state := getattr(each, "pgcode", None) or getattr(each, "sqlstate", None):
            return str(state)
    return None


def _inner(error: BaseException) -> list[BaseException]:
    """The errors of psycopg2 or psycopg that SQLAlchemy or Django may wrap."""
    inner = getattr(error, "orig", None) or error
    return [each for each in (inner, inner.__cause__) if each is not None]
