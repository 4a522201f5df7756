"""The port to a participant's database: borrow the caller's transaction, or begin one for a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from inspect import iscoroutinefunction
from typing import Any, NamedTuple, Protocol

from ordersaga.errors import NoTransaction


class Cursor(Protocol):
    """What the engine needs of a DB-API cursor (``%s`` placeholders; lists become PostgreSQL arrays)."""

    @property
    def rowcount(self) -> int: ...
    @property
    def connection(self) -> Any: ...
    def execute(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ..., /) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def fetchone(self) -> Any: ...


class Transaction(NamedTuple):
    """An open transaction: what a step calls its ``db``, and a cursor on the same connection for
    the engine.
    """

    db: Any
    cursor: Cursor


class Database(Protocol):
    """A participant's database. One object serves a whole process; each thread gets a connection
    of its own.
    """

    @property
    def dsn(self) -> str:
        """The connection string for the relay, which needs a session of its own: of the server itself, not of
        a pooler.
        """

    def begin(self) -> AbstractContextManager[Transaction]:
        """A new transaction (READ COMMITTED): committed at the end of the block, rolled back when
        it raises.
        """

    def discard(self) -> None:
        """Close this thread's connection, if any; the next :meth:`begin` makes a new one."""


def borrow(db: Any, *, planned: bool = False, alone: bool = False) -> Cursor:
    """A cursor inside the transaction that the caller has open on ``db``.

    ``db`` is a Django connection, a SQLAlchemy session or connection, or a psycopg connection. The engine
    never opens a rival transaction and never commits yours.

    :param planned: for statements whose best plan does not depend on how much the tables hold: PostgreSQL may
        keep it. It does on a Django connection whose ``OPTIONS`` have a ``prepare_threshold``, and on one of
        psycopg 3 itself.
    :param alone: for one statement that may be a transaction by itself, on a connection in autocommit.
    :raises NoTransaction: when none is open, as a signal recorded then could be lost or outlive the change it
        tells of.
    :raises TypeError: for anything else, asynchronous connections among it.
    """
    if hasattr(db, "in_atomic_block"):  # Django
        if alone:
            db.ensure_connection()
        elif not db.in_atomic_block:
            raise NoTransaction(
                "no transaction is open on the Django connection: wrap the call in transaction.atomic()"
            )
        return _planned(db) if planned and getattr(db.connection, "prepare_threshold", None) else _cursor(db)
    if any(iscoroutinefunction(getattr(type(db), act, None)) for act in ("commit", "execute")):
        raise TypeError(
            f"{type(db).__name__} is asynchronous, and the engine is not: pass a synchronous connection or session"
        )
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
        if db.autocommit and not alone:
            raise NoTransaction("the connection is in autocommit: set autocommit = False")
        return _cursor(db)
    raise TypeError(
        f"cannot borrow a transaction from {type(db).__name__}: pass a Django, SQLAlchemy or psycopg connection"
    )


def address_of(cursor: Cursor) -> tuple[object, ...]:
    """Server and database of a cursor that was borrowed, without asking them."""
    info = cursor.connection.info
    return info.host, info.port, info.dbname


def _cursor(connection: Any) -> Cursor:
    cursor: Cursor = connection.cursor()
    return cursor


def _planned(db: Any) -> Cursor:
    """Beside Django's own cursors, which put parameters into the statement, so that each is another and is
    planned anew.
    """
    from psycopg import Cursor as ServerCursor

    wrap = db.make_debug_cursor if db.queries_logged else db.make_cursor
    cursor: Cursor = wrap(ServerCursor(db.connection))
    return cursor


TABLES_MISSING = "its tables are missing; create them with: manage.py migrate"
"""What is said of a database that answers and has not been migrated yet."""

_DRIVERS = frozenset({"psycopg2", "psycopg", "sqlalchemy", "django"})
# 08: connection; 28: login; 25P03: idle in transaction; 3D000: no such database; 53300: no connection left;
# 57P01-3: shutting down, crashed, starting; 57P05: idle
_CONNECTION_STATES = frozenset({"25P03", "3D000", "53300", "57P01", "57P02", "57P03", "57P05"})


def is_connection_error(error: BaseException) -> bool:
    """Whether ``error`` is a driver's own report that the database cannot be reached, or has just closed the
    connection.
    """
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
    """Whether the engine's tables stand; the outbox is among the last that its migration creates."""
    cursor.execute("SELECT to_regclass('ordersaga_outbox') IS NOT NULL")
    return bool(cursor.fetchone()[0])


def is_writable(cursor: Cursor) -> bool:
    """Whether the engine's tables take rows; to be rolled back by the caller or not, nothing stays that
    anything refers to.

    :raises Exception: what the database says when they do not.
    """
    cursor.execute(
        "INSERT INTO ordersaga_pack (id, topic, payload) VALUES (nextval('ordersaga_pack_id'), 'probe', '{}')"
    )
    cursor.execute("DELETE FROM ordersaga_pack WHERE id = currval('ordersaga_pack_id') AND topic = 'probe'")
    return True


def first_line(error: BaseException) -> str:
    """What an error says, without details and context, nor the full stop: it is put into sentences."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def fault_of(error: BaseException) -> str:
    """What the database says is wrong, by names of the schema and without any row's values; empty when it is
    no such error.
    """
    state = sqlstate_of(error)
    if state is None:
        return ""
    diagnosis = next((each.diag for each in _inner(error) if hasattr(each, "diag")), None)
    names = [f"{part} {name}" for part in _PARTS if (name := getattr(diagnosis, f"{part}_name", None))]
    return ", ".join([f"SQLSTATE {state}", *names])


_PARTS = ("table", "column", "constraint")


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE that a driver's error carries, whether it stands alone or within SQLAlchemy's
    or Django's.
    """
    for each in _inner(error):
        if state := getattr(each, "pgcode", None) or getattr(each, "sqlstate", None):
            return str(state)
    return None


def _inner(error: BaseException) -> list[BaseException]:
    """The drivers' own errors, psycopg2's or psycopg's, that may stand within SQLAlchemy's or Django's."""
    inner = getattr(error, "orig", None) or error
    return [each for each in (inner, inner.__cause__) if each is not None]
