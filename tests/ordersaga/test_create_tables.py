"""The engine's tables are created where they are missing, and only there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from ordersaga import Choreography, DeadlinePassed, Participant, Refusal, Saga, Signal, create_tables
from ordersaga.contrib.sqlalchemy import SQLAlchemyDatabase
from tests.support.postgres import Postgres


class Asked(Signal):
    pass


class Agreed(Signal):
    pass


class Late(Refusal):
    pass


@pytest.fixture
def choreography(postgres: Postgres) -> Iterator[Choreography]:
    postgres.create_role("bare")
    desk = Participant("desk", database=SQLAlchemyDatabase(postgres.create_database("bare", "bare")))

    @desk.step(decides=True)
    def agree(asked: Asked) -> Agreed:
        return Agreed()

    @desk.step(decides=True)
    def expire(passed: DeadlinePassed) -> Late:
        return Late()

    saga = Saga(
        "bare", begins_with=Asked, initiator="desk", participants=["desk"], deadline=timedelta(minutes=1)
    )
    yield Choreography(saga, [desk])
    desk.database.discard()
    postgres.drop_databases("bare")


def test_concurrent_creators_create_the_tables_once(choreography: Choreography) -> None:
    with ThreadPoolExecutor(4) as threads:
        made = sorted(threads.map(lambda _: create_tables(choreography), range(4)))

    assert made == [[], [], [], ["desk"]]
    with choreography.participants["desk"].database.begin() as tx:
        saga = choreography.saga.start(Asked(), db=tx.db)
        standing = choreography.saga.status(saga, db=tx.db)
    assert standing is not None
    assert (standing.status, standing.ended) == ("PENDING", False)
