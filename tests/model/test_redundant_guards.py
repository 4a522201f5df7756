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


def test_an_order_whose_first_signal_is_lost_expires(driver: ModelDriver):
    replayed = performed(driver, Act("inventory", "OrderPlaced", "lost"))

    for act in (*EXPIRED_AFTER_CHARGE[2:], *REFUSED_ELSEWHERE, Act("orders", "OrderExpired!", "rolls back")):
        replayed.perform(act)

    assert replayed.observe().status == "ROLLED_BACK"


def test_a_deadline_repeats_until_it_is_received(driver: ModelDriver):
    replayed = performed(driver, EXPIRED_AFTER_CHARGE[2], Act("orders", "DeadlinePassed", "lost"))

    replayed.perform(EXPIRED_AFTER_CHARGE[2])
    replayed.perform(EXPIRED_AFTER_CHARGE[3])

    assert replayed.observe().refusal == "OrderExpired!"


def test_a_confirmed_order_has_no_deadline(driver: ModelDriver):
    replayed = performed(driver, *EXPIRED_AFTER_CHARGE[:2], Act("orders", "PaymentCharged", "done"))

    replayed.perform(EXPIRED_AFTER_CHARGE[2])

    assert ("DeadlinePassed", "orders") not in replayed.messages


def test_a_deadline_after_the_confirmation_does_nothing(driver: ModelDriver):
    replayed = performed(
        driver, *EXPIRED_AFTER_CHARGE[:3], Act("orders", "PaymentCharged", "done"), EXPIRED_AFTER_CHARGE[3]
    )

    observed = replayed.observe()

    assert (observed.status, observed.rows["expire_order"]) == ("CONFIRMED", "void")


def test_a_saga_stays_open_until_its_initiator_has_answered(driver: ModelDriver):
    replayed = performed(driver, *EXPIRED_AFTER_CHARGE, *REFUSED_ELSEWHERE)
    assert replayed.observe().answers == {"inventory", "payments"}
    assert replayed.observe().status == "ROLLING_BACK"

    replayed.perform(Act("orders", "OrderExpired!", "rolls back"))

    assert replayed.observe().status == "ROLLED_BACK"


def test_a_saga_rolling_back_is_not_confirmed_by_an_unbarred_step(driver: ModelDriver):
    replayed = performed(driver, *EXPIRED_AFTER_CHARGE)
    assert "confirm_order" not in replayed.observe().rows

    replayed.perform(Act("orders", "PaymentCharged", "done"))

    observed = replayed.observe()
    assert (observed.status, observed.rows["confirm_order"]) == ("ROLLING_BACK", "void")
    assert ("OrderConfirmed", "inventory") not in replayed.messages
    assert Order.objects.get(saga_id=replayed.saga).confirmed_at is None


def test_the_database_refuses_to_confirm_a_saga_rolling_back(driver: ModelDriver):
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
