"""Install the broker's tables and functions in ``sql/``, in addition to PGMQ's.

Each function is one transaction, on a connection in autocommit. Publishing is durable when it returns. Other
functions do not wait for the disk: after a power failure, messages are delivered again, and the journal
discards duplicates.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

from pgmq.install import get_embedded_install_sql
from psycopg import Connection, errors

FILES = ("tables", "routing", "delivery", "declaring")
SQL = "\n".join(files(__package__).joinpath("sql", f"{name}.sql").read_text() for name in FILES)
STAMP = hashlib.sha256(SQL.encode()).hexdigest()[:16]


def ensure_schema(connection: Connection[Any]) -> None:
    """Install PGMQ's SQL and this package's, if missing; several processes may start at once.

    Upstream: needs ``CREATE EXTENSION``; the wheel's own SQL script fails when it is run a second time.
    """
    if _stamp(connection) == STAMP:
        return
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = '60s'")
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('ordersaga_broker install', 0))")
        found = connection.execute("SELECT to_regtype('pgmq.message_record') IS NOT NULL").fetchone()
        if found is None or not found[0]:
            connection.execute(get_embedded_install_sql())
        connection.execute(SQL)
        connection.execute(
            "INSERT INTO ordersaga_broker.installed (stamp) VALUES (%s)"
            " ON CONFLICT (only_row) DO UPDATE SET stamp = excluded.stamp",
            [STAMP],
        )


def _stamp(connection: Connection[Any]) -> str | None:
    try:
        row = connection.execute("SELECT stamp FROM ordersaga_broker.installed").fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return None
    return row[0] if row else None
