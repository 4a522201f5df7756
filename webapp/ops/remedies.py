"""What goes wrong with a database, said without a traceback and with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError
from django.db import OperationalError, ProgrammingError, connection
from django.db.utils import InterfaceError
from sqlalchemy import exc

FAILED = 2
"""How a command ends that could not do its work."""
UNDEFINED_TABLE = "42P01"


@contextmanager
def told_plainly() -> Iterator[None]:
    """:raises CommandError: instead of what the database raises, when it is away or lacks its tables."""
    try:
        yield
    except ProgrammingError as error:
        if UNDEFINED_TABLE not in (getattr(error.__cause__, name, None) for name in ("sqlstate", "pgcode")):
            raise
        raise CommandError(
            f"The database {_address()} lacks tables ({_first_line(error)}). Run: manage.py migrate", returncode=FAILED
        ) from error
    except (OperationalError, InterfaceError) as error:
        raise CommandError(
            f"The orders database does not answer at {_address()}: {_first_line(error)}. Is PostgreSQL running? "
            "ORDERSAGA_ORDERS_DATABASE_URL says where it should be.",
            returncode=FAILED,
        ) from error


@contextmanager
def told_of(domain: str) -> Iterator[None]:
    """As :func:`told_plainly`, for the database of ``inventory`` or ``payments``."""
    try:
        yield
    except exc.ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) != UNDEFINED_TABLE:
            raise
        raise CommandError(
            f"The {domain} database lacks tables ({_first_line(error)}). Run: manage.py migrate", returncode=FAILED
        ) from error
    except exc.OperationalError as error:
        raise CommandError(
            f"The {domain} database does not answer: {_first_line(error)}. Is PostgreSQL running? "
            f"ORDERSAGA_{domain.upper()}_DATABASE_URL says where it should be.",
            returncode=FAILED,
        ) from error


def _address() -> str:
    given = connection.settings_dict
    return f"{given['HOST'] or 'localhost'}{':' if given['PORT'] else ''}{given['PORT']}/{given['NAME']}"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
