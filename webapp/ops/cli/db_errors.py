"""Turn database errors into messages with a remedy, without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.utils import InterfaceError
from sqlalchemy import exc

from ordersaga.classification import UNDEFINED_TABLE
from ordersaga.database import first_line
from webapp.ops.cli import FAILED

MISSING_OBJECT = {UNDEFINED_TABLE, "42703", "42883", "3F000"}
"""SQLSTATEs of a missing table, column, function or schema: migrations are missing."""
DENIED, READ_ONLY = "42501", "25006"
TRANSIENT = ("40", "53", "55", "57")
"""SQLSTATE classes of transient errors: conflicts, exhausted resources, locks, operator intervention."""
UNREACHABLE = ("08", "28", "3D", "57P")
"""SQLSTATE classes of errors while connecting; the drivers set no code for most of them."""


@contextmanager
def explain_orders_errors() -> Iterator[None]:
    """Turn errors of the orders database that come through Django into CommandError; faults of this program
    stay.

    :raises CommandError: with the explanation and the exit status FAILED.
    """
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        message = explain("orders", error, error.__cause__ or error, at=_address())
        if message is None:
            raise
        raise CommandError(message, returncode=FAILED) from error


@contextmanager
def explain_errors(domain: str) -> Iterator[None]:
    """As :func:`explain_orders_errors`, for SQLAlchemy and the database of ``inventory`` or ``payments``."""
    try:
        yield
    except exc.DBAPIError as error:
        message = explain(domain, error.orig or error, error.orig or error)
        if message is None:
            raise
        raise CommandError(message, returncode=FAILED) from error


def explain(domain: str, error: BaseException, cause: BaseException, *, at: str = "") -> str | None:
    """Explain ``error`` to operators; None when it is a fault of this program.

    :param cause: the error of the driver, psycopg or psycopg2.
    """
    code = str(getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or "")
    said = first_line(error)
    if code in MISSING_OBJECT:
        return f"The {domain} database lacks tables ({said}). Run: manage.py migrate"
    if code == DENIED:
        return (
            f"The {domain} database denied access: {said}. Its tables belong to another role: migrate with "
            f"the "
            f"role that {_variable_of(domain)} names, or GRANT it the privileges."
        )
    if code == READ_ONLY:
        return (
            f"The {domain} database cannot be written to: {said}. {_variable_of(domain)} must name the "
            f"primary server."
        )
    if code.startswith(UNREACHABLE) or (
        not code and type(cause).__name__ in {"OperationalError", "InterfaceError"}
    ):
        where = f" at {at}" if at else ""
        return (
            f"The {domain} database does not answer{where}: {said}. Check that PostgreSQL is running, and "
            f"correct {_variable_of(domain)} if it names the wrong server."
        )
    if code.startswith(TRANSIENT):
        return (
            f"The {domain} database failed temporarily: {said}. Completed transactions are kept; "
            "run the command again."
        )
    return None


def explain_read_error(domain: str, error: BaseException) -> str:
    """Explain a driver's ``error`` to operators of a command that only reads."""
    return explain(domain, error, error) or f"The {domain} database cannot be read: {first_line(error)}."


def _variable_of(domain: str) -> str:
    return f"ORDERSAGA_{domain.upper()}_DATABASE_URL"


def _address() -> str:
    given = connection.settings_dict
    return f"{given['HOST'] or 'localhost'}{':' if given['PORT'] else ''}{given['PORT']}/{given['NAME']}"
