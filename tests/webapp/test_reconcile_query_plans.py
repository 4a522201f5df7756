"""``manage.py reconcile`` right after a burst, while PostgreSQL's statistics still show small tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

import pytest

from tests.support.databases import Databases, copies, drop
from tests.support.postgres import Postgres
from tests.webapp.reconcile_samples import create_sample_orders
from webapp.ops.reconcile import sql
from webapp.ops.reconcile.snapshots import DATABASES, Snapshot


class Analysed(NamedTuple):
    databases: Databases
    sagas: list[str]


@pytest.fixture(scope="module")
def analysed(postgres: Postgres, database_templates: dict[str, str]) -> Iterator[Analysed]:
    """A few orders, with matching statistics: a table that is scanned now would also be scanned after a
    burst.
    """
    postgres.ensure()
    made = copies(postgres, database_templates)
    orders = create_sample_orders(made)
    for name in made.names:
        with postgres.connect(name) as cursor:
            cursor.execute("ANALYZE")
    yield Analysed(made, [booked.saga for booked in orders.values()])
    drop(postgres, made)


@pytest.mark.parametrize("statement", [sql.survey_sql, sql.suspects_sql], ids=["all sagas", "suspects"])
@pytest.mark.parametrize("database", DATABASES)
def test_no_table_is_scanned_for_each_order(
    analysed: Analysed, database: str, statement: Callable[[str], str]
) -> None:
    snapshot = Snapshot(database, getattr(analysed.databases, database))
    try:
        parameters = {"grace": timedelta(0), "sagas": analysed.sagas}
        facts = snapshot.facts(statement(database), parameters)
        assert next(facts)
        plan = [
            line for (line,) in snapshot.rows(f"EXPLAIN {statement(database)}", parameters)
        ]  # the order in which the facts are read
        assert list(facts) == []
        assert snapshot.rows("SHOW enable_seqscan") == [("on",)]
    finally:
        snapshot.close()
    assert [line for line in plan if "Seq Scan" in line and "ops_horizon" not in line] == []
