"""The web process as docker-compose.yml runs it, on a private PostgreSQL with many settled orders."""

from __future__ import annotations

import os
import subprocess
import time
from types import SimpleNamespace
from typing import Any

from tests.deploy import release
from tests.deploy.conftest import DATABASES, InstalledImage
from tests.deploy.site import Answer, Site
from tests.support import bulk_data
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.postgres import OWNER, PASSWORD, Postgres
from tests.support.processes import ROOT, Process

STAFF = "anna"
SECRET = "only-for-this-measure"  # noqa: S105 - of a private, throw-away server
BEGIN_AND_END = "^(BEGIN|COMMIT|ROLLBACK|SET|SHOW|START|RESET|DEALLOCATE)"
"""Matches statements that read no table."""


class Website:
    """Databases with many orders, the web process, and a logged-in staff user."""

    def __init__(self, orders: int) -> None:
        self.orders = orders
        self.postgres = Postgres()
        self.postgres.start()
        with self.postgres.connect() as cursor:
            cursor.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
        self.postgres.restart()
        no_broker: Any = SimpleNamespace(
            port=free_port(), management_port=free_port()
        )  # the web never talks to the broker
        self._installation = InstalledImage(self.postgres, no_broker)
        release.lay_out(self._installation.folder)
        server = {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.postgres.port),
            "PGPASSWORD": PASSWORD,
            "POSTGRES_USER": OWNER,
        }
        subprocess.run(
            ["sh", "deploy/postgres/databases.sh"],
            cwd=ROOT,
            env={**os.environ, **self._installation.given, **server},
            check=True,
        )
        self._once("migrate")
        self._once("manage", "createsuperuser", "--noinput", f"--username={STAFF}", "--email=")
        started = time.monotonic()
        bulk_data.fill(orders, [self.postgres.url(database, OWNER) for database in DATABASES], rare=True)
        self.filled_in = time.monotonic() - started
        with self.postgres.connect(DATABASES[0]) as cursor:
            cursor.execute("CREATE EXTENSION pg_stat_statements")
        web = self._installation.services()["web"]
        self._web = Process(
            "web",
            self._installation.command(web.command),
            env=self._installation.environment(web.environment),
            cwd=self._installation.folder,
        )
        self.site = Site(self._installation)

    def _once(self, service: str, *words: str) -> None:
        found = self._installation.services()[service]
        subprocess.run(
            self._installation.command([*found.command[: len(found.command) - bool(words)], *words]),
            cwd=self._installation.folder, check=True, capture_output=True,
            env=self._installation.environment({**found.environment, "DJANGO_SUPERUSER_PASSWORD": SECRET}),
        )  # fmt: skip

    def restart(self) -> None:
        """Restart PostgreSQL and the web process, so that their caches are empty. The file cache is not."""
        self._web.stop()
        self.postgres.restart()
        self._start()

    def open(self) -> None:
        """Start the web process and log in."""
        self._start()
        self.site.log_in(STAFF, SECRET)

    def _start(self) -> None:
        self._web.start()
        eventually(lambda: self.site.get("/healthz").status == 200, 60, "the web", ignoring=(OSError,))

    def close(self) -> None:
        self._web.stop()
        self.postgres.stop()

    def get(self, page: str) -> tuple[float, Answer]:
        """Return the milliseconds until the last byte, and the response."""
        started = time.perf_counter()
        answer = self.site.get(page)
        return 1000 * (time.perf_counter() - started), answer

    def statements(self) -> int:
        """Count the statements of the web process so far, in all three databases."""
        with self.postgres.connect(DATABASES[0]) as cursor:
            cursor.execute(
                "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid"
                " WHERE rolname <> %s AND query !~ %s", [OWNER, BEGIN_AND_END],
            )  # fmt: skip
            return int(cursor.fetchone()[0])

    def query_value(self, statement: str, *values: object) -> str:
        """Return one value of the orders database, as text."""
        with self.postgres.connect(DATABASES[0]) as cursor:
            cursor.execute(statement, values)
            return str(cursor.fetchone()[0])

    def size(self) -> int:
        """Return the size of the three databases in bytes."""
        with self.postgres.connect() as cursor:
            cursor.execute("SELECT sum(pg_database_size(name)) FROM unnest(%s) AS name", [list(DATABASES)])
            return int(cursor.fetchone()[0])
