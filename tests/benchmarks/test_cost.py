"""Limits what an order costs in statements, messages and bytes, which is the same on every machine.

It counts hundreds of orders of the real participants in this process. A change that costs more fails here; a
change that costs less lowers the limits.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ordersaga.testing import Rehearsal
from tests.support.databases import Databases, copies, migrated_templates
from tests.support.db_override import participants_at
from tests.support.db_probe import DatabaseProbe
from tests.support.order_factory import ASLEEP, OrderFactory
from tests.support.postgres import Postgres

ROOM = 1.05
"""Ids and times vary in length, and a page more or less may be written."""

STATEMENTS = """
SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
WHERE datname = ANY(%s) AND query !~* '^(BEGIN|COMMIT|ROLLBACK|SET|SHOW)'
AND query !~ '^SELECT .* FROM ONLY'  -- PostgreSQL's own, for foreign keys
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server that counts statements. Commits do not wait for the disk, as no time is measured."""
    postgres = Postgres(shared_preload_libraries="pg_stat_statements", synchronous_commit="off")
    postgres.start()
    with postgres.connect() as cursor:
        cursor.execute("CREATE EXTENSION pg_stat_statements")
    yield postgres
    postgres.stop()


@pytest.fixture(scope="module")
def databases(server: Postgres) -> Databases:
    made = copies(server, migrated_templates(server))
    OrderFactory(made).seed()
    return made


def settle(databases: Databases, server: Postgres, *, orders: int, at_once: int) -> dict[str, float]:
    """Settle ``count`` confirmed orders, ``at_once`` in a transaction and envelope;
    return the cost of each.
    """
    factory, probe = OrderFactory(databases, watchdog=ASLEEP), DatabaseProbe(databases)

    def statements() -> int:
        with server.connect() as cursor:
            cursor.execute(STATEMENTS, [databases.names])
            return int(cursor.fetchone()[0])

    with participants_at(databases) as choreography:
        messages, size, before = 0, 0, statements()
        for _ in range(0, orders, at_once):
            factory.place_many(at_once, "TEA", "MUG")
            rehearsal = Rehearsal(choreography)
            while rehearsal.collect():
                sent = {queued.envelope.id: len(queued.envelope.body) for queued in rehearsal.queued}
                messages, size = messages + len(sent), size + sum(sent.values())
                for queued in list(rehearsal.queued):
                    rehearsal.deliver(queued)
        statement_count = statements() - before
    probe.wait_until_clean()
    return {"statements": statement_count / orders, "messages": messages / orders, "bytes": size / orders}


@pytest.mark.parametrize(
    ("orders", "at_once", "most"),
    [
        (400, 400, {"statements": 0.28, "messages": 0.0275, "bytes": 2365}),
        (
            100,
            1,
            {"statements": 106.1, "messages": 11, "bytes": 4014},
        ),  # a rehearsal polls each outbox after each delivery
    ],
    ids=["400 together", "each alone"],
)
def test_an_order_stays_within_its_cost_limits(
    orders: int, at_once: int, most: dict[str, float], databases: Databases, server: Postgres
) -> None:
    cost = settle(databases, server, orders=orders, at_once=at_once)
    assert {name: figure for name, figure in cost.items() if figure > most[name] * ROOM} == {}
