"""Random choreographies, faults and delivery orders on the real journal leave all effects
of a saga or none.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ordersaga.testing import Rehearsal
from tests.ordersaga.toy_saga import DESK, LISTEN, Plan, Shape, Toy, empty_outbox, toy_database
from tests.support.postgres import Postgres

FOR_EVER = 10**6
REMINDERS = 6
"""More than the number of losses."""
ROUNDS = 30
"""More than the number of losses and of failed undos whose retry was lost."""
ALL_OWNERS = [DESK, "shelf", "till", "van"]
OWNERS = st.sampled_from(ALL_OWNERS)
NEVER_GIVES_UP = ("complete", LISTEN)


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> Iterator[str]:
    with toy_database(postgres, "properties") as url:
        yield url


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Chains of one to four steps over some participants; some steps refuse, raise for some attempts, or
    always raise.
    """
    owners = draw(st.lists(OWNERS, min_size=1, max_size=4))
    batched = draw(st.lists(st.booleans(), min_size=len(owners), max_size=len(owners)))
    ships = draw(st.none() | OWNERS)
    names = [f"step{n}" for n in range(len(owners))]
    beside = [
        (owner, n) for n, consumer in enumerate([*owners, DESK]) for owner in ALL_OWNERS if owner != consumer
    ]
    listeners = draw(st.lists(st.sampled_from(beside), max_size=2, unique_by=lambda listener: listener[1]))
    names += [f"{LISTEN}{n}" for _, n in listeners]
    faults = draw(
        st.dictionaries(
            st.tuples(st.sampled_from([*names, "confirm", "ship", "complete"]), st.integers(0, 2)), plans()
        )
    )
    kept = {
        (name, number): Plan(min(plan.failures, 4)) if name.startswith(NEVER_GIVES_UP) else plan
        for (name, number), plan in faults.items()
    }
    most = draw(st.sampled_from([None, 1, 2]))
    return Shape(tuple(owners), tuple(batched), ships, kept, most, tuple(listeners))


def plans() -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan,
        failures=st.sampled_from([0, 1, 2, FOR_EVER]), refuses=st.booleans(), undo_failures=st.integers(0, 3),
        emits=st.sampled_from(["next", "next", "aside", "nothing"]),
    )  # fmt: skip


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    shape=shapes(), seed=st.integers(0, 2**32), repeats=st.sampled_from([0.0, 0.3]), count=st.integers(1, 3),
    late=st.booleans(), lost=st.frozensets(st.integers(0, 40), max_size=4),
)  # fmt: skip
def test_every_saga_ends_with_all_its_effects_or_with_none(
    url: str, shape: Shape, seed: int, repeats: float, count: int, late: bool, lost: frozenset[int]
):
    """Envelopes with the numbers in ``lost`` never arrive, counted from 0 over all recipients."""
    empty_outbox(url)
    toy = Toy(shape, url)
    published = itertools.count()
    rehearsal = Rehearsal(
        toy.choreography, seed=seed, repeats=repeats, lose=lambda _: next(published) in lost
    )
    sagas = toy.start(count)
    if late:
        rehearsal.make_timers_due("deadline", sagas[0])

    rehearsal.run()
    assert lost or all(toy.strays(number) for number, saga in enumerate(sagas) if toy.is_open(saga))
    remind(toy, rehearsal, sagas)

    for saga in sagas:
        toy.assert_all_or_nothing(saga, lost=bool(lost))
    toy.database.discard()


def remind(toy: Toy, rehearsal: Rehearsal, sagas: list[str]) -> None:
    """Let the watchdog re-send what open sagas wait for until all have ended.

    Deadlines pass at once for sagas that cannot continue, and for the others once reminders have not helped:
    if only the initiator has missed a refusal, an undone step does not forward the reminder to the step that
    refused.
    """
    for number_of_round in range(ROUNDS):
        waiting = [(number, saga) for number, saga in enumerate(sagas) if toy.is_open(saga)]
        if not waiting:
            return
        toy.let_wait([saga for _, saga in waiting])
        rehearsal.make_timers_due("watchdog")
        for number, saga in waiting:
            if toy.strays(number) or number_of_round >= REMINDERS:
                rehearsal.make_timers_due("deadline", saga)
        rehearsal.run()


@pytest.mark.parametrize(
    ("batched", "most", "transactions"), [(False, 2, 3), (True, 2, 3), (False, None, 1), (True, None, 1)]
)
def test_a_step_and_its_undo_respect_their_batch_size(
    url: str, batched: bool, most: int | None, transactions: int
):
    """A batch of slow sagas must not exceed the time limit of a step."""
    empty_outbox(url)
    refused = {("step1", number): Plan(refuses=True) for number in range(5)}
    toy = Toy(Shape((DESK, "till"), (batched, batched), plans=refused, max_signals=most), url)
    sagas = toy.start(5)

    Rehearsal(toy.choreography, seed=1).run()

    counted = """
        SELECT count(DISTINCT xmin::text) FROM effect
        WHERE step = 'step0' AND change = %s AND saga_id = ANY(%s::uuid[])
    """
    assert toy.rows(counted, 1, sagas) == [(transactions,)]
    assert toy.rows(counted, -1, sagas) == [(transactions,)]
    for saga in sagas:
        assert toy.assert_all_or_nothing(saga) == "ROLLED_BACK"
    toy.database.discard()
