from __future__ import annotations

import sys
from collections.abc import Callable

import psutil

from tests.support.installation import Installation
from tests.support.processes import Process

FORK = """
import os
from workers.choreography import choreography

def whoami(database):
    with database.begin() as tx:
        tx.cursor.execute("SELECT pg_backend_pid()")
        return tx.cursor.fetchone()[0]

databases = [choreography().participants[name].database for name in ("orders", "inventory", "payments")]
before = [whoami(database) for database in databases]
if (child := os.fork()) == 0:
    theirs = [whoami(database) for database in databases]
    os._exit(0 if not set(theirs) & set(before) else 1)
assert os.waitpid(child, 0)[1] == 0, "the child spoke on its parent's connection"
assert [whoami(database) for database in databases] == before, "the child closed its parent's connection"
"""


def test_a_child_process_opens_its_own_connections(
    spawn: Callable[..., Process],
) -> None:
    forking = spawn("forking", [sys.executable, "-c", FORK])
    assert forking.wait(60) == 0, forking.logs()


def test_prefork_children_share_no_socket(installation: Installation) -> None:
    installation.probe.wait_until_confirmed(
        [saga for _ in range(10) for saga in installation.factory.place_many(3)]
    )

    parents = [psutil.Process(worker.process.pid) for worker in installation.pools["inventory"]]
    # A child that starts later also inherits its parent's relay's socket, and never uses it.
    inherited = {socket for parent in parents for socket in sockets(parent, installation)}
    own = [sockets(child, installation) - inherited for parent in parents for child in parent.children()]
    assert any(own)
    assert len(set().union(*own)) == sum(map(len, own))


def sockets(process: psutil.Process, installation: Installation) -> set[int]:
    """Return the local ports of a process's connections to its database."""
    database = installation.proxies["inventory"].port
    return {c.laddr.port for c in process.net_connections("tcp") if c.raddr and c.raddr.port == database}
