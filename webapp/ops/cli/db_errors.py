"""What goes wrong with a database, said without a traceback and with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.db.utils import InterfaceError
from sqlalchemy import exc

from ordersaga.database import first_line
from webapp.ops.cli.main import FAILED

MISSING_OBJECT = {"42P01", "42703", "42883", "3F000"}
"""No such table, column, function, schema: the migrations are missing."""
DENIED, READ_ONLY = "42501", "25006"
TRANSIENT = ("40", "53", "55", "57")
"""Classes of what may be otherwise in a moment: conflicts, a full disk or no connection left, locks, an
operator's act.
"""
UNREACHABLE = ("08", "28", "3D", "57P")
"""Classes of what keeps one from coming in at all; the drivers give most of these no code."""


@contextmanager
def explain_orders_errors() -> Iterator[None]:
    """:raises CommandError: instead of what the orders database raises through Django, when it is no fault of
    ours.
    """
    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        told = explain("orders", error, error.__cause__ or error, at=_address())
        if told is None:
            raise
        raise CommandError(told, returncode=FAILED) from error


@contextmanager
def explain_errors(domain: str) -> Iterator[None]:
    """As :func:`explain_orders_errors`, for the database of ``inventory`` or ``payments`` and SQLAlchemy."""
    try:
        yield
    except exc.DBAPIError as error:
        told = explain(domain, error.orig or error, error.orig or error)
        if told is None:
            raise
        raise CommandError(told, returncode=FAILED) from error


def explain(domain: str, error: BaseException, cause: BaseException, *, at: str = "") -> str | None:
    """What ``error`` means for the people who run the house; None when it is a fault of this program.

    :param cause: what the driver, psycopg or psycopg2, has raised.
    """
    code = str(getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or "")
    said = first_line(error)
    if code in MISSING_OBJECT:
        return f"The {domain} database lacks tables ({said}). Run: manage.py migrate"
    if code == DENIED:
        return (
            f"The {domain} database refused: {said}. Its tables belong to another role: migrate with the one that "
            f"{_variable_of(domain)} names, or have their owner GRANT it what it needs."
        )
    if code == READ_ONLY:
        return f"The {domain} database cannot be written to: {said}. {_variable_of(domain)} must name the primary server."
    if code.startswith(UNREACHABLE) or (
        not code and type(cause).__name__ in {"OperationalError", "InterfaceError"}
    ):
        where = f" at {at}" if at else ""
        return (
            f"The {domain} database does not answer{where}: {said}. Is PostgreSQL running? "
            f"{_variable_of(domain)} says where it should be."
        )
    if code.startswith(TRANSIENT):
        return f"The {domain} database could not do it now: {said}. What was done stands whole; run the command again."
    return None


def explain_read_error(domain: str, error: BaseException) -> str:
    """What a driver's ``error`` means for somebody who only reads."""
    return explain(domain, error, error) or f"The {domain} database cannot be read: {first_line(error)}."


def _variable_of(domain: str) -> str:
    return f"ORDERSAGA_{domain.upper()}_DATABASE_URL"


def _address() -> str:
    given = connection.settings_dict
    return f"{given['HOST'] or 'localhost'}{':' if given['PORT'] else ''}{given['PORT']}/{given['NAME']}"
