"""The servers of a fault run: a PostgreSQL for each participant, RabbitMQ, PgBouncer, and a route to each
that can fail.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from psycopg2 import sql

from tests.faults.isolation import Isolation, Link
from tests.support.postgres import Postgres, unprivileged_user
from tests.support.processes import Process, primary_group
from tests.support.proxy import Proxy

DISK_MEGABYTES = 600
"""The size of each participant's data, on its own file system."""
LOG_LINE = re.compile(r"^([\d-]+ [\d:.]+ UTC) \[\d+\] (\w{5}) (\S*) (?:ERROR|FATAL):", re.MULTILINE)


class ParticipantPostgres(Postgres):
    """A participant's server. It logs SQLSTATEs; with an isolation its data is on a small file system."""

    def __init__(self, owner: str, isolation: Isolation | None) -> None:
        super().__init__(log_line_prefix="%m [%p] %e %d ", log_timezone="UTC")
        self.owner = owner
        self.disk: Path | None = None
        if isolation is not None:
            user = unprivileged_user()
            assert user is not None
            self.disk = isolation.mount_small(self.folder / "disk", DISK_MEGABYTES, user)
            inside = isolation.inside(self.process.argv, user, str(primary_group(user)))
            self.process = Process(
                f"postgres-{owner}", inside, log=self.folder / "server.log", cwd=self.folder
            )

    def open(self) -> None:
        """Start it with the participant's empty database."""
        self.start()
        self.create_role(self.owner)
        self.create_database(self.owner, self.owner)
        if self.disk is not None:
            with self.connect() as cursor:
                cursor.execute(
                    sql.SQL("CREATE TABLESPACE small LOCATION {}").format(
                        sql.Literal(str(self.folder / "disk"))
                    )
                )
                cursor.execute(
                    sql.SQL("ALTER DATABASE {} SET TABLESPACE small").format(sql.Identifier(self.owner))
                )

    @property
    def database_url(self) -> str:
        """The direct URL of the participant's database."""
        return self.url(self.owner, self.owner)

    def errors_since(self, began: datetime) -> Counter[str]:
        """Count each SQLSTATE logged for clients of the participant's database since then."""
        found: Counter[str] = Counter()
        for at, code, database in LOG_LINE.findall(self.process.logs()):
            if (
                database == self.owner
                and datetime.strptime(at, "%Y-%m-%d %H:%M:%S.%f UTC").replace(tzinfo=UTC) >= began
            ):
                found[code] += 1
        return found

    def end_sessions(self) -> int:
        """End every session of the participant's role; return their number."""
        with self.connect() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = %s",
                (self.owner,),
            )
            return int(cursor.fetchone()[0])

    def blocked_by(self, pid: int) -> int:
        """Count the sessions that wait for a lock of a server process."""
        with self.connect() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))", (pid,)
            )
            return int(cursor.fetchone()[0])


class Route:
    """The route to one server: through a proxy and, with an isolation, over a link that can drop packets."""

    def __init__(self, name: str, port: int, isolation: Isolation | None) -> None:
        self.name = name
        self.link: Link | None = isolation.link() if isolation is not None else None
        if self.link is None:
            self.proxy = Proxy(port)
        else:
            self.proxy = Proxy(port, host=self.link.address, listener=self.link.listen)

    @property
    def address(self) -> tuple[str, int]:
        """The address that clients connect to."""
        return self.proxy.host, self.proxy.port

    def through(self, url: str, port: int) -> str:
        """Return the URL of the server at ``port`` over this route."""
        host, here = self.address
        return url.replace(f"127.0.0.1:{port}", f"{host}:{here}")

    def connects(self, timeout: float) -> bool:
        """Return whether a new connection is accepted in time; a refusal raises."""
        try:
            socket.create_connection(self.address, timeout=timeout).close()
        except TimeoutError:
            return False
        return True
