"""Opens a plain py-amqp connection by URL."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import amqp


def connect(url: str, **options: Any) -> amqp.Connection:
    """Return an open connection; use it as a context manager."""
    parts = urlsplit(url)
    connection = amqp.Connection(
        f"{parts.hostname}:{parts.port}",
        userid=parts.username,
        password=parts.password,
        virtual_host=unquote(parts.path[1:]),
        **options,
    )
    connection.connect()
    return connection
