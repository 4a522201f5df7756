"""Statements, commits, messages and bytes per order, as PostgreSQL and RabbitMQ count them, on servers of
their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contestants.registry import Contestant
from benchmarks.environment import Run, Servers, run_of
from benchmarks.measuring import USUAL, Figures
from tests.support.postgres import Postgres

LATE = 7.0
"""Seconds: RabbitMQ sums up a virtual host every five, however often its queues tell it."""
COUNTED = """
SELECT sum(calls) FILTER (WHERE query !~* '^(BEGIN|COMMIT|ROLLBACK|SET|SHOW|DEALLOCATE|LISTEN)')::bigint,
    sum(calls) FILTER (WHERE query ~* '^COMMIT')::bigint, sum(wal_bytes)::bigint
FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid WHERE datname = ANY(%s)
"""


def drain(contestant: Contestant, orders: int) -> Figures:
    """Of orders that were placed before: what the pools do, not what placing costs."""
    with observed() as servers, run_of(contestant, servers, USUAL) as run:
        run.prefill(orders)
        before = {**_published(servers, run), **_asked(servers, run)}
        run.start()
        run.until_settled()
        after = {**_asked(servers, run), **_published(servers, run)}
        contestant.check(run.databases, orders)  # asks much itself
        return _each(before, after, orders)


def alone(contestant: Contestant, orders: int) -> Figures:
    """Of orders that come twenty a second, one in a transaction; with placing."""
    with observed() as servers, run_of(contestant, servers, USUAL) as run:
        run.start()
        placers = run.placers(orders, rate=20)
        before = {**_published(servers, run), **_asked(servers, run)}
        placers.go()
        placers.wait(600)
        run.until_settled()
        after = {**_asked(servers, run), **_published(servers, run)}
        contestant.check(run.databases, orders)  # asks much itself
        return _each(before, after, orders)


@contextmanager
def observed(**settings: str) -> Iterator[Servers]:
    """Servers whose PostgreSQL counts statements, with more ``settings`` of ``pg_stat_statements``."""
    servers = Servers()
    settings = {f"pg_stat_statements.{name}": value for name, value in settings.items()}
    servers.__dict__["postgres"] = Postgres(shared_preload_libraries="pg_stat_statements", **settings)
    servers.postgres.start()
    with servers.postgres.connect() as cursor:
        cursor.execute("CREATE EXTENSION pg_stat_statements")
    try:
        yield servers
    finally:
        servers.close()


def _asked(servers: Servers, run: Run) -> dict[str, int]:
    with servers.postgres.connect() as cursor:
        cursor.execute(COUNTED, [run.databases.names])
        return dict(
            zip(
                ("statements", "commits", "wal_bytes"),
                (int(value or 0) for value in cursor.fetchone()),
                strict=True,
            )
        )


def _published(servers: Servers, run: Run) -> dict[str, int]:
    """Messages published and bytes that clients sent, the workers' heartbeats among them: some in a second.

    It takes its time, in which idle pools go on asking: what they ask is read after the first and before the
    last.
    """
    time.sleep(LATE)
    told = servers.rabbitmq.vhost(run.vhost)
    return {"messages": told.get("message_stats", {}).get("publish", 0), "bytes": told.get("recv_oct", 0)}


def _each(before: dict[str, int], after: dict[str, int], orders: int) -> Figures:
    found = {f"{name}_per_order": round((after[name] - before[name]) / orders, 3) for name in after}
    return {"orders": orders, **found}
