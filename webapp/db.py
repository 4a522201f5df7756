"""Convert a database URL to Django's configuration."""

from __future__ import annotations

from typing import Any

from ordersaga.conninfo import DEFAULTS, parse_address


def to_django_config(url: str) -> dict[str, Any]:
    """Convert a connection string (see :mod:`ordersaga.conninfo`) to one entry of ``DATABASES``.

    Several hosts and ports stay comma-separated lists, as libpq reads them. Other options go to the driver.

    :raises InvalidConnectionString: when libpq cannot read it, or it names no database.
    """
    options = parse_address(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": options.pop("dbname", ""),
        "USER": options.pop("user", ""),
        "PASSWORD": options.pop("password", ""),
        "HOST": options.pop("host", ""),
        "PORT": options.pop("port", ""),
        # only cursors with server-side parameters prepare statements: see ordersaga.database.borrow
        "OPTIONS": {**DEFAULTS, "prepare_threshold": 5, **options},
    }
