"""A fifth participant joins by the setting alone, while orders are in flight."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import pytest

from tests.scenarios.loyalty.steps import SCHEMA, URL
from tests.support.installation import ENVIRONMENT, House
from tests.support.order_factory import Shop
from tests.support.polling import eventually
from tests.support.pools import PARTICIPANTS, Pool, Pools

LIST = "ORDERSAGA_PARTICIPANTS"
LONGER = {LIST: f"{ENVIRONMENT[LIST]},tests.scenarios.loyalty"}


@pytest.fixture
def loyalty_database(house: House) -> Iterator[str]:
    house.postgres.create_role("loyalty")
    url = house.postgres.create_database("loyalty", "loyalty")
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        for statement in SCHEMA:
            cursor.execute(statement)
    connection.close()
    yield url
    house.postgres.drop_databases("loyalty")


def points(url: str) -> set[str]:
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT saga_id::text FROM point")
        found = {saga for (saga,) in cursor.fetchall()}
    connection.close()
    return found


def test_loyalty_points_join_while_orders_are_in_flight(house: House, loyalty_database: str) -> None:
    env = {**house.env, **LONGER, URL: loyalty_database}
    after = Shop(house.databases, participants=("orders", "inventory", "payments", "loyalty"))
    pools = Pools(env)
    house.proxies["payments"].refuse()
    paid_before = house.shop.place_many(3)
    declined_before = house.shop.place_many(3, customer="poor")
    eventually(lambda: house.books.goods(declined_before[-1]), 30, "orders in flight")
    try:
        with house.all_away():
            pools.launch(*(Pool(name, kind="threads") for name in PARTICIPANTS))
            house.proxies["payments"].accept()
            paid_after = after.place_many(3)
            declined_after = after.place_many(3, customer="poor")

            # begun before: nobody waits for loyalty, whose pool does not even run
            house.books.all_confirmed(paid_before)
            house.books.all_rolled_back(declined_before)
            assert all(
                "loyalty" not in house.books.saga(saga).participants
                for saga in [*paid_before, *declined_before]
            )

            # begun after: loyalty must answer a refusal; a confirmed order does not wait for its point
            house.books.all_confirmed(paid_after)
            answered = {"orders", "inventory", "payments"}
            for saga in declined_after:
                eventually(
                    lambda saga=saga: house.books.answers(saga) == answered, 30, "all but loyalty answered"
                )  # type: ignore[misc]
                assert house.books.saga(saga).status == "ROLLING_BACK"

            pools.start("loyalty", app="tests.scenarios.loyalty", kind="threads")

            house.books.all_rolled_back(declined_after)
            eventually(lambda: points(loyalty_database) >= set(paid_after), 30, "points given")
            assert not points(loyalty_database) & {*declined_before, *declined_after}
            pools.teardown()
    finally:
        pools.teardown()
