"""A private PostgreSQL server on a free port, with durable commits."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from tests.support.janitor import janitor
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.processes import Process, primary_group
from tests.support.programs import Programs, postgres_programs
from tests.support.time_scale import scaled

OWNER = "test_owner"
PASSWORD = "private"

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "listen_addresses": "127.0.0.1",
    "jit": "off",  # short statements only
    "log_line_prefix": "%m [%p] %d ",
    "log_min_messages": "warning",
}


class Postgres:
    """A server; ``start``, ``stop``, ``kill`` and ``restart`` keep its data and port."""

    def __init__(self, **settings: str) -> None:
        """:param settings: additional settings of postgresql.conf."""
        programs = postgres_programs()
        if programs is None:
            raise RuntimeError(
                "PostgreSQL's programs are not installed; run python -m tests.support.programs"
            )
        self.port = free_port()
        self.folder = janitor().folder("pg")
        self._data = self.folder / "data"
        self._user, self._account = None, None
        if (
            programs.root is not None
        ):  # entering a root directory needs root; the server then runs as that system's postgres user
            self._account = account(programs.root, "postgres")
        else:
            self._user = unprivileged_user()
        self._initdb(programs, {**SETTINGS, **settings})
        argv = programs.argv(
            "postgres", "-D", self._data, "-p", str(self.port), "-k", self.folder, account=self._account
        )  # fmt: skip
        self.process = Process(
            "postgres", argv, log=self.folder / "server.log", user=self._user, cwd=self.folder
        )

    def _initdb(self, programs: Programs, settings: Mapping[str, str]) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        identity: dict[str, Any] = {}
        if self._account or self._user:
            for path in (self.folder, password):
                shutil.chown(path, *(self._account or (self._user,)))
        if self._user:
            identity = {"user": self._user, "group": primary_group(self._user), "extra_groups": []}
        argv = programs.argv(
            "initdb",
            "-D",
            self._data,
            "-U",
            OWNER,
            "--pwfile",
            password,
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
            account=self._account,
        )
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=self.folder, **identity)
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")
        with (self._data / "postgresql.conf").open(
            "a"
        ) as conf:  # ALTER SYSTEM overrides this file, so a test may inject faults
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self) -> None:
        self.process.start()
        eventually(self._answers, 60, "PostgreSQL", ignoring=(psycopg2.OperationalError,))

    def ensure(self) -> None:
        """Start the server if a test has stopped it."""
        if not self.process.alive:
            self.start()

    def _answers(self) -> bool:
        if not self.process.alive:
            raise RuntimeError(f"PostgreSQL ended with {self.process.returncode}:\n{self.process.tail()}")
        with self.connect() as cursor:
            cursor.execute("SELECT 1")
        return True

    def stop(self) -> None:
        """Shut down fast: roll back open transactions, then write a checkpoint."""
        self.process.send(signal.SIGINT)
        self.process.wait(60)

    def kill(self) -> None:
        """Kill every server process at once with SIGKILL."""
        self.process.kill()

    def restart(self) -> None:
        if self.process.alive:
            self.stop()
        self.start()

    @contextmanager
    def connect(self, database: str = "postgres") -> Iterator[Any]:
        """Yield a cursor of the superuser, in autocommit."""
        connection = psycopg2.connect(self.url(database, OWNER), connect_timeout=math.ceil(scaled(5)))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def url(self, database: str, role: str) -> str:
        return f"postgresql://{role}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create_role(self, role: str) -> None:
        """Create a role that may log in and nothing more, unless it exists."""
        with self.connect() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
            if cursor.fetchone() is None:
                cursor.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(role), sql.Literal(PASSWORD)
                    )
                )

    def create_database(self, database: str, role: str, template: str = "template1") -> str:
        """Create a database owned by ``role`` and closed to all others, as a copy of ``template``; return its
        URL.

        The template must have no connections.
        """
        self.create_databases({database: (role, template)})
        return self.url(database, role)

    def create_databases(self, wanted: Mapping[str, tuple[str, str]]) -> None:
        """Create several databases at once, by name, role and template."""
        with self.connect() as cursor:
            for database, (role, template) in wanted.items():
                self._create(cursor, database, role, template)

    def _create(self, cursor: Any, database: str, role: str, template: str) -> None:
        create = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}")
        cursor.execute(create.format(*map(sql.Identifier, (database, role, template))))
        cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))

    def drop_databases(self, *databases: str) -> None:
        """Drop databases, and end their connections."""
        with self.connect() as cursor:
            for database in databases:
                cursor.execute(
                    sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
                )


def unprivileged_user() -> str | None:
    """Return the user that runs the server, as PostgreSQL refuses root, or None for the current user."""
    import pwd

    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def account(root: Path, user: str) -> tuple[int, int]:
    """Return the ids of a user and its group in the system below ``root``."""
    for line in (root / "etc" / "passwd").read_text().splitlines():
        name, _, uid, gid, *_ = line.split(":")
        if name == user:
            return int(uid), int(gid)
    raise RuntimeError(f"{root} has no user {user}")
