"""What the model says, the real participants do: journal, status, stock, money and mail agree after every
step.
"""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from tests.model.driver import ModelDriver
from tests.model.state import Act, Scenario
from tests.model.traces import finish, follow, repeated, shortest, telling, walk

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
# One step says one of its two; what comes later in the saga cannot refuse what never came so far; and after
# the confirmation nobody but the pivot may.
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
    """A shortest way to each refusal, each pair of them, and to the confirmed end."""
    goals: dict[str, frozenset[str]] = {pair: frozenset(pair.split(" and ")) for pair in PAIRS}
    goals |= {refusal: frozenset({refusal}) for refusal in REFUSALS}
    goals["StockShipped"] = frozenset({"StockShipped"})
    return shortest(RACES, goals)


def test_only_refusals_that_exclude_one_another_never_meet(ways: dict[str, list[Act]]):
    assert set(PAIRS) - ways.keys() == NEVER_MEET


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("end", ["StockShipped", *REFUSALS])
def test_each_kind_of_end(driver: ModelDriver, ways: dict[str, list[Act]], end: str, seed: int):
    world, trace = follow(ways[end])
    driver.perform(trace + finish(world, random.Random(seed)))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("pair", sorted(set(PAIRS) - NEVER_MEET))
def test_each_pair_of_racing_refusals(driver: ModelDriver, ways: dict[str, list[Act]], pair: str, seed: int):
    world, trace = follow(ways[pair])
    driver.perform(trace + finish(world, random.Random(seed)))


@pytest.mark.parametrize("end", ["StockShipped", *REFUSALS])
def test_each_delivery_again_after_every_step(driver: ModelDriver, ways: dict[str, list[Act]], end: str):
    """After each step every piece of mail that was ever handled is handled once more, and changes nothing
    wrongly.
    """
    driver.perform(repeated(ways[end]))


def test_a_few_hundred_traces_of_everything_at_once(driver: ModelDriver):
    rng = random.Random(2026)
    walks = (walk(rng, rng.randrange(3, 18)) for _ in range(120))
    told = 0
    for trace in telling(walks):
        driver.perform(trace)
        told += 1
    assert told > 70
