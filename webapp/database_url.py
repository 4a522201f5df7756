"""A database address as Django wants it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


def django_database(url: str) -> dict[str, Any]:
    """Translate ``postgresql://user:password@host:port/name?option=value`` into one entry of ``DATABASES``.

    ``?host=/socket/dir`` (and ``port``, ``user``, ``password``, ``dbname``) stand before the address, as in libpq;
    other options are handed to the driver. ``postgresql+psycopg2://`` and the like are accepted; the driver is Django's
    choice.

    :raises ValueError: when the address is not PostgreSQL's or names no database; the message prints no password.
    """
    parts = urlsplit(url)
    if parts.scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise ValueError(f"a database address begins with postgresql://, not {parts.scheme or 'nothing'}://")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    name = options.pop("dbname", "") or unquote(parts.path.lstrip("/"))
    if not name:
        raise ValueError("a database address ends with the database's name: postgresql://user@host/name")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": options.pop("user", "") or unquote(parts.username or ""),
        "PASSWORD": options.pop("password", "") or unquote(parts.password or ""),
        "HOST": options.pop("host", "") or unquote(parts.hostname or ""),
        "PORT": options.pop("port", "") or str(parts.port or ""),
        # only cursors that leave parameters to the server prepare anything: see ordersaga.database.borrow
        "OPTIONS": {"connect_timeout": "5", "prepare_threshold": 5, **options},
    }
