"""Tests guards alone that a second guard hides while no message is lost."""

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
    Act("inventory", "OrderExpired!", "rolls back"),
    Act("payments", "OrderExpired!", "rolls back"),
    Act("orders", "Answer(inventory)", "counted"),
    Act("orders", "Answer(payments)", "counted"),
]


def performed(driver: ModelDriver, *acts: Act) -> ReplayedSaga:
    replayed = driver.order()
    replayed.gather()
    for act in acts:
        replayed.perform(act)
    return replayed


def test_an_order_of_which_nobody_ever_heard_ends_by_its_deadline(driver: ModelDriver):
    replayed = performed(driver, Act("inventory", "OrderPlaced", "lost"))

    for act in (*EXPIRED_AFTER_CHARGE[2:], *REFUSED_ELSEWHERE, Act("orders", "OrderExpired!", "rolls back")):
        replayed.perform(act)

    assert replayed.observe().status == "ROLLED_BACK"


def test_a_deadline_is_renewed_until_somebody_has_heard_it(driver: ModelDriver):
    replayed = performed(driver, EXPIRED_AFTER_CHARGE[2], Act("orders", "DeadlinePassed", "lost"))

    replayed.perform(EXPIRED_AFTER_CHARGE[2])
    replayed.perform(EXPIRED_AFTER_CHARGE[3])

    assert replayed.observe().refusal == "OrderExpired!"


def test_a_confirmed_order_has_no_deadline_any_more(driver: ModelDriver):
    replayed = performed(driver, *EXPIRED_AFTER_CHARGE[:2], Act("orders", "PaymentCharged", "done"))

    replayed.perform(EXPIRED_AFTER_CHARGE[2])

    assert ("DeadlinePassed", "orders") not in replayed.messages


def test_a_deadline_that_is_heard_after_the_confirmation_does_nothing(driver: ModelDriver):
    replayed = performed(
        driver, *EXPIRED_AFTER_CHARGE[:3], Act("orders", "PaymentCharged", "done"), EXPIRED_AFTER_CHARGE[3]
    )

    observed = replayed.observe()

    assert (observed.status, observed.rows["expire_order"]) == ("CONFIRMED", "void")


def test_a_saga_is_not_closed_before_its_initiator_has_turned_back_too(driver: ModelDriver):
    replayed = performed(driver, *EXPIRED_AFTER_CHARGE, *REFUSED_ELSEWHERE)
    assert replayed.observe().answers == {"inventory", "payments"}
    assert replayed.observe().status == "ROLLING_BACK"

    replayed.perform(Act("orders", "OrderExpired!", "rolls back"))

    assert replayed.observe().status == "ROLLED_BACK"


def test_a_saga_that_rolls_back_is_not_confirmed_though_the_step_is_not_barred_yet(driver: ModelDriver):
    replayed = performed(driver, *EXPIRED_AFTER_CHARGE)
    assert "confirm_order" not in replayed.observe().rows

    replayed.perform(Act("orders", "PaymentCharged", "done"))

    observed = replayed.observe()
    assert (observed.status, observed.rows["confirm_order"]) == ("ROLLING_BACK", "void")
    assert ("OrderConfirmed", "inventory") not in replayed.messages
    assert Order.objects.get(saga_id=replayed.saga).confirmed_at is None


def test_the_database_itself_refuses_to_confirm_a_saga_that_rolls_back(driver: ModelDriver):
    replayed = performed(driver, *EXPIRED_AFTER_CHARGE)

    with pytest.raises(psycopg2.errors.CheckViolation, match="cannot go from ROLLING_BACK to CONFIRMED"):
        driver.read(
            "orders",
            "UPDATE ordersaga_saga SET status = 'CONFIRMED', refusal = NULL WHERE id = %s",
            [replayed.saga],
        )


def test_a_barred_step_stays_barred_though_the_saga_looks_pending(driver: ModelDriver):
    """The initiator's bars are the second guard behind the compare-and-set."""
    replayed = performed(driver, *EXPIRED_AFTER_CHARGE, Act("orders", "OrderExpired!", "rolls back"))

    replayed.perform(Act("orders", "PaymentCharged", "nothing"))

    assert replayed.observe().rows["confirm_order"] == "barred"
    assert ("OrderConfirmed", "inventory") not in replayed.messages
