"""A participant that fails while it receives a refusal retries, and answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ordersaga.testing import Rehearsal
from tests.ordersaga.toy_saga import Plan, Shape, Toy, toy_database
from tests.support.postgres import Postgres

FAILS = """
CREATE SEQUENCE failure;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('failure') <= {times} THEN RAISE EXCEPTION 'as the test wishes'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fails BEFORE INSERT ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION fail();
"""
SHAPE = Shape(("shelf", "till"), (True, True), plans={("step1", 0): Plan(refuses=True)})


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with toy_database(postgres, "failing_refusal") as url:
        yield url


@pytest.mark.parametrize(
    ("table", "when"),
    [
        ("ordersaga_journal", "NEW.step = 'till.refusal'"),
        ("ordersaga_outbox", "NEW.participant = 'till' AND NEW.topic = 'answer'"),
    ],
    ids=["it cannot note it", "it cannot answer"],
)
@pytest.mark.parametrize("times", [2, 5])
def test_a_refusal_that_could_not_be_handled_is_answered_later(
    url: str, table: str, when: str, times: int
) -> None:
    toy = Toy(SHAPE, url)
    with toy.database.begin() as tx:
        tx.cursor.execute(FAILS.format(times=times, table=table, when=when))
    [saga] = toy.start(1)

    Rehearsal(toy.choreography).run()

    assert toy.assert_all_or_nothing(saga) == "ROLLED_BACK"
    assert len(toy.database.errors) >= times
    toy.database.discard()
