"""The real participants do what the model does: journal, status, stock, money and messages agree after each
act.
"""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from tests.model.driver import ModelDriver
from tests.model.state import Act, Scenario
from tests.model.traces import finish, follow, repeated, shortest, walk, with_new_situations

RACES = Scenario("refusals that race", errors=True, duplicates=False)
REFUSALS = (
    "OutOfStock!",
    "PaymentDeclined!",
    "OrderExpired!",
    "OrderCancelled!",
    "StepFailed(reserve_stock)!",
    "StepFailed(charge)!",
    "StepFailed(confirm_order)!",
    "StepFailed(ship_stock)!",
)
PAIRS = [f"{one} and {other}" for one, other in combinations(REFUSALS, 2)]
# A step emits one refusal. A later step cannot refuse a saga that never reached it. After the confirmation,
# only the pivot may refuse.
NEVER_MEET = {
    "OutOfStock! and PaymentDeclined!",
    "OutOfStock! and StepFailed(reserve_stock)!",
    "OutOfStock! and StepFailed(charge)!",
    "OutOfStock! and StepFailed(confirm_order)!",
    "OutOfStock! and StepFailed(ship_stock)!",
    "PaymentDeclined! and StepFailed(reserve_stock)!",
    "PaymentDeclined! and StepFailed(charge)!",
    "PaymentDeclined! and StepFailed(confirm_order)!",
    "PaymentDeclined! and StepFailed(ship_stock)!",
    "OrderExpired! and OrderCancelled!",
    "OrderExpired! and StepFailed(ship_stock)!",
    "OrderCancelled! and StepFailed(ship_stock)!",
    "StepFailed(reserve_stock)! and StepFailed(charge)!",
    "StepFailed(reserve_stock)! and StepFailed(confirm_order)!",
    "StepFailed(reserve_stock)! and StepFailed(ship_stock)!",
    "StepFailed(charge)! and StepFailed(confirm_order)!",
    "StepFailed(charge)! and StepFailed(ship_stock)!",
    "StepFailed(confirm_order)! and StepFailed(ship_stock)!",
}


@pytest.fixture(scope="module")
def ways() -> dict[str, list[Act]]:
    """A shortest path to each refusal, to each pair of refusals, and to the confirmed end."""
    goals: dict[str, frozenset[str]] = {pair: frozenset(pair.split(" and ")) for pair in PAIRS}
    goals |= {refusal: frozenset({refusal}) for refusal in REFUSALS}
    goals["StockShipped"] = frozenset({"StockShipped"})
    return shortest(RACES, goals)


def test_only_exclusive_refusals_never_race(ways: dict[str, list[Act]]):
    assert set(PAIRS) - ways.keys() == NEVER_MEET


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("end", ["StockShipped", *REFUSALS])
def test_the_code_follows_the_model_to_each_end(
    driver: ModelDriver, ways: dict[str, list[Act]], end: str, seed: int
):
    state, trace = follow(ways[end])
    driver.replay(trace + finish(state, random.Random(seed)))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("pair", sorted(set(PAIRS) - NEVER_MEET))
def test_the_code_follows_the_model_for_racing_refusals(
    driver: ModelDriver, ways: dict[str, list[Act]], pair: str, seed: int
):
    state, trace = follow(ways[pair])
    driver.replay(trace + finish(state, random.Random(seed)))


@pytest.mark.parametrize("end", ["StockShipped", *REFUSALS])
def test_the_code_follows_the_model_with_repeated_messages(
    driver: ModelDriver, ways: dict[str, list[Act]], end: str
):
    """After each act, every message handled so far is handled again."""
    driver.replay(repeated(ways[end]))


def test_the_code_follows_the_model_on_random_traces(driver: ModelDriver):
    rng = random.Random(2026)
    walks = (walk(rng, rng.randrange(3, 18)) for _ in range(120))
    replayed = 0
    for trace in with_new_situations(walks):
        driver.replay(trace)
        replayed += 1
    assert replayed > 70
