"""Every outcome of an order, from placing to the end of its saga."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.fault_injection.skus import UNSHIPPABLE
from tests.support.installation import Installation
from tests.support.order_factory import Item
from tests.support.polling import eventually


def test_a_paid_order_is_confirmed(installation: Installation) -> None:
    saga = installation.factory.place(Item("TEA", 2), Item("MUG", 1))

    installation.probe.wait_until_confirmed([saga])

    assert installation.probe.reservations(saga) == {"TEA": "shipped", "MUG": "shipped"}
    assert installation.probe.ledger(saga) == [("charge", -2100)]
    installation.probe.wait_until_clean()
    assert installation.probe.audit_trail(saga) == [
        "orders: OrderPlaced",
        "inventory: StockReserved",
        "payments: PaymentCharged",
        "orders: OrderConfirmed",
        "inventory: StockShipped",
        "orders: complete",
    ]


def test_a_free_order_is_confirmed(installation: Installation) -> None:
    saga = installation.factory.place("FREE", customer="poor")

    installation.probe.wait_until_confirmed([saga])

    assert installation.probe.reservations(saga) == {"FREE": "shipped"}
    assert installation.probe.ledger(saga) == [("charge", 0)]


@pytest.mark.parametrize(
    ("customer", "why"),
    [
        ("poor", "not enough money"),
        ("blocked", "customer is blocked"),
        ("limited", "over the customer's limit"),
    ],
)
def test_a_declined_order_rolls_back(installation: Installation, customer: str, why: str) -> None:
    saga = installation.factory.place("TEA", "MUG", customer=customer)

    installation.probe.wait_until_rolled_back([saga])

    assert installation.probe.saga(saga).reason == f"Payment declined: {why}"
    assert installation.probe.reservations(saga) == {"TEA": "released", "MUG": "released"}
    assert installation.probe.ledger(saga) == []


def test_an_order_with_a_line_out_of_stock_rolls_back(installation: Installation) -> None:
    saga = installation.factory.place("TEA", "GONE", "MUG")

    installation.probe.wait_until_rolled_back([saga])

    assert installation.probe.saga(saga).reason == "Out of stock: GONE"
    assert installation.probe.reservations(saga) == {}
    assert installation.probe.journal(saga)["payments.charge"] == "barred"


def test_an_expired_order_refunds_a_late_payment(installation: Installation) -> None:
    with installation.without("payments"):
        saga = installation.factory.place("TEA", deadline=timedelta(seconds=1))
        installation.probe.wait_for_status(saga, "ROLLING_BACK")
        eventually(
            lambda: installation.probe.reservations(saga) == {"TEA": "released"},
            30,
            "the stock on hand again",
        )
        assert installation.probe.saga(saga).reason == "Expired: the deadline passed"
        assert installation.probe.ledger(saga) == []

    installation.probe.wait_until_rolled_back([saga])

    assert installation.probe.ledger(saga) == [("charge", -450), ("refund", 450)]
    assert installation.probe.journal(saga)["orders.confirm_order"] == "barred"


def test_an_order_cancelled_before_confirmation_rolls_back(installation: Installation) -> None:
    installation.proxies["payments"].refuse()
    saga = installation.factory.place("TEA")
    eventually(lambda: installation.probe.reservations(saga) == {"TEA": "held"}, 30, "the stock held")

    installation.factory.cancel(saga)

    eventually(
        lambda: installation.factory.cancel_outcome(saga) == "cancelled", 30, "the outcome of the request"
    )
    installation.proxies["payments"].accept()
    installation.probe.wait_until_rolled_back([saga])
    assert installation.probe.saga(saga).reason == "Cancelled by customer"
    assert installation.probe.reservations(saga) == {"TEA": "released"}
    assert sum(amount for _, amount in installation.probe.ledger(saga)) == 0


def test_an_order_cancelled_during_confirmation_ends_well(installation: Installation) -> None:
    sagas = []
    for _ in range(8):
        sagas.append(installation.factory.place("TEA"))
        installation.factory.cancel(sagas[-1])

    installation.probe.wait_until_ended(sagas)

    eventually(
        lambda: all(installation.factory.cancel_outcome(saga) for saga in sagas),
        30,
        "the outcomes of all requests",
    )
    expected = {"CONFIRMED": "too_late", "ROLLED_BACK": "cancelled"}
    assert all(
        installation.factory.cancel_outcome(saga) == expected[installation.probe.saga(saga).status]
        for saga in sagas
    )


def test_a_confirmed_order_cannot_be_cancelled(installation: Installation) -> None:
    saga = installation.factory.place("TEA")
    installation.probe.wait_until_confirmed([saga])

    installation.factory.cancel(saga)

    eventually(
        lambda: installation.factory.cancel_outcome(saga) == "too_late", 30, "the outcome of the request"
    )
    assert installation.probe.saga(saga).status == "CONFIRMED"


def test_an_unshippable_confirmed_order_rolls_back(installation: Installation) -> None:
    saga = installation.factory.place(UNSHIPPABLE)

    installation.probe.wait_until_rolled_back([saga])

    assert installation.probe.saga(saga).reason == "Step inventory.ship_stock failed: InjectedFault"
    assert installation.probe.reservations(saga) == {UNSHIPPABLE: "released"}
    assert installation.probe.ledger(saga) == [("charge", -100), ("refund", 100)]
    assert installation.probe.journal(saga)["orders.confirm_order"] == "undone"
