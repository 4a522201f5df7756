"""Counts statements, commits, messages and bytes per order, by the statistics of PostgreSQL and RabbitMQ."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contestants.registry import Contestant
from benchmarks.environment import Run, Servers, run_of
from benchmarks.measuring import DEFAULT_WORKLOAD, Figures
from tests.support.postgres import Postgres

LATE = 7.0
"""Seconds; RabbitMQ updates the statistics of a virtual host every five."""
COUNTED = """
SELECT sum(calls) FILTER (WHERE query !~* '^(BEGIN|COMMIT|ROLLBACK|SET|SHOW|DEALLOCATE|LISTEN)')::bigint,
    sum(calls) FILTER (WHERE query ~* '^COMMIT')::bigint, sum(wal_bytes)::bigint
FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid WHERE datname = ANY(%s)
"""


def drain(contestant: Contestant, orders: int) -> Figures:
    """Count for orders placed before the pools start: the work of the pools, without placing."""
    with instrumented_servers() as servers, run_of(contestant, servers, DEFAULT_WORKLOAD) as run:
        run.prefill(orders)
        before = {**_published(servers, run), **_statement_counts(servers, run)}
        run.start()
        run.wait_until_settled()
        after = {**_statement_counts(servers, run), **_published(servers, run)}
        contestant.check(run.databases, orders)  # after counting: it queries much
        return _each(before, after, orders)


def alone(contestant: Contestant, orders: int) -> Figures:
    """Count for orders placed at 20 per second, one in a transaction, placing included."""
    with instrumented_servers() as servers, run_of(contestant, servers, DEFAULT_WORKLOAD) as run:
        run.start()
        placers = run.placers(orders, rate=20)
        before = {**_published(servers, run), **_statement_counts(servers, run)}
        placers.start()
        placers.wait(600)
        run.wait_until_settled()
        after = {**_statement_counts(servers, run), **_published(servers, run)}
        contestant.check(run.databases, orders)  # after counting: it queries much
        return _each(before, after, orders)


@contextmanager
def instrumented_servers(**settings: str) -> Iterator[Servers]:
    """Start servers with ``pg_stat_statements``, which takes further ``settings``."""
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


def _statement_counts(servers: Servers, run: Run) -> dict[str, int]:
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
    """Return the messages published and the bytes sent by clients, heartbeats included.

    It waits :data:`LATE` seconds, during which idle pools run queries: read the statements after the first
    call and before the last.
    """
    time.sleep(LATE)
    result = servers.rabbitmq.vhost(run.vhost)
    return {"messages": result.get("message_stats", {}).get("publish", 0), "bytes": result.get("recv_oct", 0)}


def _each(before: dict[str, int], after: dict[str, int], orders: int) -> Figures:
    found = {f"{name}_per_order": round((after[name] - before[name]) / orders, 3) for name in after}
    return {"orders": orders, **found}
