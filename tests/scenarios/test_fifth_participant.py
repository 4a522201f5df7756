"""A fifth participant joins by a setting alone, while orders are in flight."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import psycopg2
import pytest

from tests.scenarios.loyalty.steps import SCHEMA, URL
from tests.support.installation import ENVIRONMENT, Installation
from tests.support.order_factory import OrderFactory
from tests.support.polling import eventually
from tests.support.pools import PARTICIPANTS, Pool, Pools

LIST = "ORDERSAGA_PARTICIPANTS"
LONGER = {LIST: f"{ENVIRONMENT[LIST]},tests.scenarios.loyalty"}


@pytest.fixture
def loyalty_database(installation: Installation) -> Iterator[str]:
    installation.postgres.create_role("loyalty")
    url = installation.postgres.create_database("loyalty", "loyalty")
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        for statement in SCHEMA:
            cursor.execute(statement)
    connection.close()
    yield url
    installation.postgres.drop_databases("loyalty")


def points(url: str) -> set[str]:
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT saga_id::text FROM point")
        found = {saga for (saga,) in cursor.fetchall()}
    connection.close()
    return found


def test_a_participant_joins_while_orders_are_in_flight(
    installation: Installation, loyalty_database: str
) -> None:
    env = {**installation.env, **LONGER, URL: loyalty_database}
    after = OrderFactory(installation.databases, participants=("orders", "inventory", "payments", "loyalty"))
    pools = Pools(env)
    installation.proxies["payments"].refuse()
    paid_before = installation.factory.place_many(3)
    declined_before = installation.factory.place_many(3, customer="poor")
    eventually(lambda: installation.probe.reservations(declined_before[-1]), 30, "orders in flight")
    try:
        with installation.without_pools():
            pools.launch(*(Pool(name, kind="threads") for name in PARTICIPANTS))
            installation.proxies["payments"].accept()
            paid_after = after.place_many(3)
            declined_after = after.place_many(3, customer="poor")

            # Sagas that started before do not wait for loyalty, whose pool does not run.
            installation.probe.wait_until_confirmed(paid_before)
            installation.probe.wait_until_rolled_back(declined_before)
            assert all(
                "loyalty" not in installation.probe.saga(saga).participants
                for saga in [*paid_before, *declined_before]
            )

            # Of sagas that start after, loyalty must answer a refusal; a confirmed order does not wait for
            # its point.
            installation.probe.wait_until_confirmed(paid_after)
            answered = {"orders", "inventory", "payments"}
            for saga in declined_after:
                answers = partial(installation.probe.answers, saga)
                eventually(lambda answers=answers: answers() == answered, 30, "all answers but one")  # type: ignore[misc]
                assert installation.probe.saga(saga).status == "ROLLING_BACK"

            pools.start("loyalty", app="tests.scenarios.loyalty", kind="threads")

            installation.probe.wait_until_rolled_back(declined_after)
            eventually(lambda: points(loyalty_database) >= set(paid_after), 30, "points given")
            assert not points(loyalty_database) & {*declined_before, *declined_after}
            pools.teardown()
    finally:
        pools.teardown()
