from __future__ import annotations

import sys
from collections.abc import Callable

import psutil

from tests.support.house import House
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


def test_a_child_speaks_on_connections_of_its_own_and_leaves_its_parents_alone(spawn: Callable[..., Process]) -> None:
    forking = spawn("forking", [sys.executable, "-c", FORK])
    assert forking.wait(60) == 0, forking.logs()


def test_no_two_processes_of_a_prefork_pool_share_a_socket(house: House) -> None:
    database = house.proxies["payments"].port
    with house.besides("payments", kind="prefork", concurrency=3) as [worker]:
        house.books.all_confirmed([saga for _ in range(10) for saga in house.shop.place_many(3)])
        assert worker.process.pid is not None
        family = [psutil.Process(worker.process.pid), *psutil.Process(worker.process.pid).children(recursive=True)]
        sockets = [c.laddr.port for p in family for c in p.net_connections("tcp") if c.raddr and c.raddr.port == database]

    assert len(family) == 4
    assert len(sockets) == len(set(sockets)) >= 2, sockets
