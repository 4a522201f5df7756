"""A database address as Django wants it."""

from __future__ import annotations

from typing import Any

from ordersaga.conninfo import DEFAULTS, parse_address


def to_django_config(url: str) -> dict[str, Any]:
    """Translate a connection string (see :mod:`ordersaga.conninfo`) into one entry of ``DATABASES``.

    Several hosts and ports stay lists separated by commas, as libpq reads them. All other options are given
    to the driver.

    :raises InvalidConnectionString: when libpq cannot read it or it names no database.
    """
    options = parse_address(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": options.pop("dbname", ""),
        "USER": options.pop("user", ""),
        "PASSWORD": options.pop("password", ""),
        "HOST": options.pop("host", ""),
        "PORT": options.pop("port", ""),
        # only cursors that leave parameters to the server prepare anything: see ordersaga.database.borrow
        "OPTIONS": {**DEFAULTS, "prepare_threshold": 5, **options},
    }
