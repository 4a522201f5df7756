"""The protocol holds in every reachable state of the model, and the checker finds each known flaw."""

from __future__ import annotations

import pytest

from tests.model.checker import Checker
from tests.model.mutants import HIDDEN, MUTANTS, NO_CANCEL, SCENARIOS
from tests.model.state import Scenario


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_protocol_holds(scenario: Scenario):
    result = Checker(scenario).check()

    assert not result.fault, "\n".join([result.fault, *map(str, result.trace)])
    assert {"CONFIRMED", "ROLLED_BACK"} == set(result.ends)


@pytest.mark.parametrize(("flaw", "scenario"), MUTANTS, ids=lambda value: getattr(value, "name", value))
def test_the_checker_finds_a_flaw(flaw: str, scenario: Scenario):
    assert Checker(scenario, {flaw}).check().fault


@pytest.mark.parametrize("flaw", HIDDEN)
def test_a_second_guard_hides_the_flaw_without_loss(flaw: str):
    """If this fails, the checker finds the flaw, and the guard needs no separate test."""
    assert not Checker(NO_CANCEL, {flaw}).check().fault


def test_the_bars_of_the_initiator_hide_a_missing_compare_and_set():
    flaws = {"confirm without compare-and-set", "orders undoes at once"}

    assert not Checker(NO_CANCEL, flaws).check().fault
