"""A private PgBouncer in front of a private PostgreSQL."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import psycopg2

from tests.support.janitor import janitor
from tests.support.polling import eventually
from tests.support.ports import free_port, listens
from tests.support.postgres import PASSWORD, unprivileged_user
from tests.support.processes import Process
from tests.support.programs import pgbouncer

CONFIG = """
[databases]
* = host=127.0.0.1 port={target}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = {mode}
default_pool_size = {size}
server_lifetime = 3600
"""


class PgBouncer:
    """Debian's default PgBouncer, except for its pool mode. ``start`` may follow ``stop`` or ``kill``, on the
    same port.
    """

    def __init__(self, postgres_port: int, mode: str, roles: Sequence[str], *, size: int = 20) -> None:
        """:param size: server connections for each pair of role and database."""
        program = pgbouncer()
        if program is None:
            raise RuntimeError("PgBouncer is not installed; run python -m tests.support.programs")
        self.port, self._postgres_port = free_port(), postgres_port
        folder, user = janitor().folder("pgbouncer"), unprivileged_user()
        folder.chmod(0o755)
        users, config = folder / "users", folder / "pgbouncer.ini"
        users.write_text("".join(f'"{role}" "{PASSWORD}"\n' for role in roles))
        config.write_text(
            CONFIG.format(target=postgres_port, port=self.port, users=users, mode=mode, size=size)
        )
        self.process = Process(
            f"pgbouncer-{mode}", [program, config], log=folder / "pgbouncer.log", user=user, cwd=folder
        )

    def start(self) -> PgBouncer:
        self.process.start()
        eventually(lambda: listens(self.port), 20, "PgBouncer")
        return self

    def through(self, url: str) -> str:
        """Return ``url`` with the pooler in place of its server."""
        return url.replace(f":{self._postgres_port}/", f":{self.port}/")

    def restart(self) -> None:
        """Kill and start it: all connections of both sides are lost."""
        self.process.kill()
        self.start()

    def stop(self) -> None:
        self.process.send(signal.SIGINT)
        self.process.wait(30)

    def held(self, url: str, count: int) -> list[psycopg2.extensions.connection]:
        """Open ``count`` clients, each in a transaction and therefore with its own server session."""
        clients = []
        for _ in range(count):
            client = psycopg2.connect(self.through(url))
            client.cursor().execute("SELECT 1")
            clients.append(client)
        return clients
