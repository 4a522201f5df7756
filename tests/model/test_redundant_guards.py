"""Guards that a second guard hides while nothing is lost, each tested alone."""

from __future__ import annotations

import psycopg2
import pytest

from tests.model.driver import ModelDriver, ReplayedSaga
from tests.model.state import Act
from webapp.orders.models import Order

EXPIRED_AFTER_CHARGE = [
    Act("inventory", "OrderPlaced", "done"),
    Act("payments", "StockReserved", "done"),
    Act("clock", "deadline", "falls due"),
    Act("orders", "DeadlinePassed", "done"),
]
REFUSED_ELSEWHERE = [
    Act("inventory", "OrderExpired!", "turns back"),
    Act("payments", "OrderExpired!", "turns back"),
    Act("orders", "Answer(inventory)", "counted"),
    Act("orders", "Answer(payments)", "counted"),
]


def performed(driver: ModelDriver, *acts: Act) -> ReplayedSaga:
    play = driver.order()
    play.gather()
    for act in acts:
        play.play(act)
    return play


def test_an_order_of_which_nobody_ever_heard_ends_by_its_deadline(driver: ModelDriver):
    play = performed(driver, Act("inventory", "OrderPlaced", "lost"))

    for act in (*EXPIRED_AFTER_CHARGE[2:], *REFUSED_ELSEWHERE, Act("orders", "OrderExpired!", "turns back")):
        play.play(act)

    assert play.picture().status == "ROLLED_BACK"


def test_a_deadline_is_renewed_until_somebody_has_heard_it(driver: ModelDriver):
    play = performed(driver, EXPIRED_AFTER_CHARGE[2], Act("orders", "DeadlinePassed", "lost"))

    play.play(EXPIRED_AFTER_CHARGE[2])
    play.play(EXPIRED_AFTER_CHARGE[3])

    assert play.picture().turned_by == "OrderExpired!"


def test_a_confirmed_order_has_no_deadline_any_more(driver: ModelDriver):
    play = performed(driver, *EXPIRED_AFTER_CHARGE[:2], Act("orders", "PaymentCharged", "done"))

    play.play(EXPIRED_AFTER_CHARGE[2])

    assert ("DeadlinePassed", "orders") not in play.bag


def test_a_deadline_that_is_heard_after_the_confirmation_does_nothing(driver: ModelDriver):
    play = performed(
        driver, *EXPIRED_AFTER_CHARGE[:3], Act("orders", "PaymentCharged", "done"), EXPIRED_AFTER_CHARGE[3]
    )

    picture = play.picture()

    assert (picture.status, picture.rows["expire_order"]) == ("CONFIRMED", "void")


def test_a_saga_is_not_closed_before_its_initiator_has_turned_back_too(driver: ModelDriver):
    play = performed(driver, *EXPIRED_AFTER_CHARGE, *REFUSED_ELSEWHERE)
    assert play.picture().answers == {"inventory", "payments"}
    assert play.picture().status == "ROLLING_BACK"

    play.play(Act("orders", "OrderExpired!", "turns back"))

    assert play.picture().status == "ROLLED_BACK"


def test_a_saga_that_rolls_back_is_not_confirmed_though_the_step_is_not_barred_yet(driver: ModelDriver):
    play = performed(driver, *EXPIRED_AFTER_CHARGE)
    assert "confirm_order" not in play.picture().rows

    play.play(Act("orders", "PaymentCharged", "done"))

    picture = play.picture()
    assert (picture.status, picture.rows["confirm_order"]) == ("ROLLING_BACK", "void")
    assert ("OrderConfirmed", "inventory") not in play.bag
    assert Order.objects.get(saga_id=play.saga).confirmed_at is None


def test_the_database_itself_refuses_to_confirm_a_saga_that_rolls_back(driver: ModelDriver):
    play = performed(driver, *EXPIRED_AFTER_CHARGE)

    with pytest.raises(psycopg2.errors.CheckViolation, match="cannot go from ROLLING_BACK to CONFIRMED"):
        driver.read(
            "orders",
            "UPDATE ordersaga_saga SET status = 'CONFIRMED', refusal = NULL WHERE id = %s",
            [play.saga],
        )


def test_a_barred_step_stays_barred_though_the_saga_looks_pending(driver: ModelDriver):
    """The bars of the initiator stand behind the compare-and-set."""
    play = performed(driver, *EXPIRED_AFTER_CHARGE, Act("orders", "OrderExpired!", "turns back"))

    play.play(Act("orders", "PaymentCharged", "nothing"))

    assert play.picture().rows["confirm_order"] == "barred"
    assert ("OrderConfirmed", "inventory") not in play.bag
