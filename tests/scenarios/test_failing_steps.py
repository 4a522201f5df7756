"""Steps and undos that raise."""

from __future__ import annotations

from tests.support.fault_injection.goods import FAILS, FAILS_TWICE, STICKS
from tests.support.installation import House
from tests.support.polling import eventually

STEP = "inventory.reserve_stock"


def test_a_step_that_fails_twice_and_then_works(house: House) -> None:
    saga = house.shop.place(FAILS_TWICE, "TEA")

    house.books.all_confirmed([saga])

    house.books.are_clean()
    assert house.books.trail(saga).count("inventory: failed") == 2
    assert house.books.dead_letters("inventory", saga) == []


def test_a_step_that_never_works(house: House) -> None:
    saga = house.shop.place(FAILS, "TEA")

    house.books.all_rolled_back([saga])

    found = house.books.saga(saga)
    assert (found.refusal, found.refused_by) == ("StepFailed", "inventory")
    assert house.books.journal(saga)[STEP] == "refused"
    [(step, traceback, attempts)] = house.books.dead_letters("inventory", saga)
    assert (step, attempts) == (STEP, 3)
    assert "Unruly: this never works" in traceback
    [letter] = eventually(lambda: house.books.desk(saga), 30, "the desk's copy")
    assert (letter.source, letter.step, letter.topic) == ("participant", STEP, "signal.OrderPlaced")
    assert letter.traceback == traceback


def test_an_undo_that_fails_for_a_while(house: House) -> None:
    house.switches.on(STICKS)
    saga = house.shop.place(STICKS, customer="poor")

    attention = eventually(lambda: house.books.saga(saga).attention, 30, "needs attention")
    assert attention == "undo of inventory.reserve_stock keeps failing: Unruly"
    assert house.books.saga(saga).status == "ROLLING_BACK"
    assert house.books.journal(saga)[STEP] == "undoing"
    house.switches.off(STICKS)

    house.books.all_rolled_back([saga])
    assert house.books.saga(saga).attention is None
    assert house.books.goods(saga) == {STICKS: "released"}
