"""Steps and undos that raise."""

from __future__ import annotations

from tests.support.fault_injection.skus import FAILS, FAILS_TWICE, UNDO_FAILS
from tests.support.installation import Installation
from tests.support.polling import eventually

STEP = "inventory.reserve_stock"


def test_a_step_that_fails_twice_is_retried(installation: Installation) -> None:
    saga = installation.factory.place(FAILS_TWICE, "TEA")

    installation.probe.wait_until_confirmed([saga])

    installation.probe.wait_until_clean()
    assert installation.probe.audit_trail(saga).count("inventory: failed") == 2
    assert installation.probe.participant_dead_letters("inventory", saga) == []


def test_a_step_that_always_fails_is_given_up(installation: Installation) -> None:
    saga = installation.factory.place(FAILS, "TEA")

    installation.probe.wait_until_rolled_back([saga])

    found = installation.probe.saga(saga)
    assert (found.refusal, found.refused_by) == ("StepFailed", "inventory")
    assert installation.probe.journal(saga)[STEP] == "refused"
    [(step, traceback, attempts)] = installation.probe.participant_dead_letters("inventory", saga)
    assert (step, attempts) == (STEP, 3)
    assert "InjectedFault: this never works" in traceback
    [message] = eventually(lambda: installation.probe.dead_letters(saga), 30, "the audit's copy")
    assert (message.source, message.step, message.topic) == ("participant", STEP, "signal.OrderPlaced")
    assert message.traceback == traceback


def test_a_failing_undo_is_retried_until_it_succeeds(installation: Installation) -> None:
    installation.switches.on(UNDO_FAILS)
    saga = installation.factory.place(UNDO_FAILS, customer="poor")

    attention = eventually(lambda: installation.probe.saga(saga).attention, 30, "needs attention")
    assert attention == "undo of inventory.reserve_stock keeps failing: InjectedFault"
    assert installation.probe.saga(saga).status == "ROLLING_BACK"
    assert installation.probe.journal(saga)[STEP] == "undoing"
    installation.switches.off(UNDO_FAILS)

    installation.probe.wait_until_rolled_back([saga])
    assert installation.probe.saga(saga).attention is None
    assert installation.probe.reservations(saga) == {UNDO_FAILS: "released"}
