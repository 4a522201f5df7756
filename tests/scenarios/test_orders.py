"""What may become of an order, from its placing to the end of its saga."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support.fault_injection.goods import UNSHIPPABLE
from tests.support.installation import House
from tests.support.order_factory import Item
from tests.support.polling import eventually


def test_paid(house: House) -> None:
    saga = house.shop.place(Item("TEA", 2), Item("MUG", 1))

    house.books.all_confirmed([saga])

    assert house.books.goods(saga) == {"TEA": "shipped", "MUG": "shipped"}
    assert house.books.money(saga) == [("charge", -2100)]
    house.books.are_clean()
    assert house.books.trail(saga) == [
        "orders: OrderPlaced",
        "inventory: StockReserved",
        "payments: PaymentCharged",
        "orders: OrderConfirmed",
        "inventory: StockShipped",
        "orders: complete",
    ]


def test_free_of_charge(house: House) -> None:
    saga = house.shop.place("FREE", customer="poor")

    house.books.all_confirmed([saga])

    assert house.books.goods(saga) == {"FREE": "shipped"}
    assert house.books.money(saga) == [("charge", 0)]


@pytest.mark.parametrize(
    ("customer", "why"),
    [
        ("poor", "not enough money"),
        ("blocked", "customer is blocked"),
        ("limited", "over the customer's limit"),
    ],
)
def test_declined(house: House, customer: str, why: str) -> None:
    saga = house.shop.place("TEA", "MUG", customer=customer)

    house.books.all_rolled_back([saga])

    assert house.books.saga(saga).reason == f"Payment declined: {why}"
    assert house.books.goods(saga) == {"TEA": "released", "MUG": "released"}
    assert house.books.money(saga) == []


def test_out_of_stock_on_one_of_three_lines(house: House) -> None:
    saga = house.shop.place("TEA", "GONE", "MUG")

    house.books.all_rolled_back([saga])

    assert house.books.saga(saga).reason == "Out of stock: GONE"
    assert house.books.goods(saga) == {}
    assert house.books.journal(saga)["payments.charge"] == "barred"


def test_expired_with_the_payment_arriving_late(house: House) -> None:
    with house.without("payments"):
        saga = house.shop.place("TEA", deadline=timedelta(seconds=1))
        house.books.reaches(saga, "ROLLING_BACK")
        eventually(lambda: house.books.goods(saga) == {"TEA": "released"}, 30, "the goods back on hand")
        assert house.books.saga(saga).reason == "Expired: the deadline passed"
        assert house.books.money(saga) == []

    house.books.all_rolled_back([saga])

    assert house.books.money(saga) == [("charge", -450), ("refund", 450)]
    assert house.books.journal(saga)["orders.confirm_order"] == "barred"


def test_cancelled_before_confirmation(house: House) -> None:
    house.proxies["payments"].refuse()
    saga = house.shop.place("TEA")
    eventually(lambda: house.books.goods(saga) == {"TEA": "held"}, 30, "the goods held")

    house.shop.cancel(saga)

    eventually(lambda: house.shop.told(saga) == "cancelled", 30, "the customer told")
    house.proxies["payments"].accept()
    house.books.all_rolled_back([saga])
    assert house.books.saga(saga).reason == "Cancelled by customer"
    assert house.books.goods(saga) == {"TEA": "released"}
    assert sum(amount for _, amount in house.books.money(saga)) == 0


def test_cancelled_during_confirmation(house: House) -> None:
    sagas = []
    for _ in range(8):
        sagas.append(house.shop.place("TEA"))
        house.shop.cancel(sagas[-1])

    house.books.all_ended(sagas)

    eventually(lambda: all(house.shop.told(saga) for saga in sagas), 30, "all customers told")
    expected = {"CONFIRMED": "too_late", "ROLLED_BACK": "cancelled"}
    assert all(house.shop.told(saga) == expected[house.books.saga(saga).status] for saga in sagas)


def test_cancelled_after_confirmation(house: House) -> None:
    saga = house.shop.place("TEA")
    house.books.all_confirmed([saga])

    house.shop.cancel(saga)

    eventually(lambda: house.shop.told(saga) == "too_late", 30, "the customer told")
    assert house.books.saga(saga).status == "CONFIRMED"


def test_confirmed_and_then_impossible_to_ship(house: House) -> None:
    saga = house.shop.place(UNSHIPPABLE)

    house.books.all_rolled_back([saga])

    assert house.books.saga(saga).reason == "Step inventory.ship_stock failed: Unruly"
    assert house.books.goods(saga) == {UNSHIPPABLE: "released"}
    assert house.books.money(saga) == [("charge", -100), ("refund", 100)]
    assert house.books.journal(saga)["orders.confirm_order"] == "undone"
