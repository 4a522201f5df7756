"""One key creates one order, however often and from however many processes it is placed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, transaction

from tests.support.time_scale import scaled
from tests.webapp.sample_orders import create_products, emitted_topics, place
from webapp.orders.exceptions import IdempotencyConflict
from webapp.orders.models import Order, OrderLine, Product, Saga
from webapp.orders.pricing import Item, NewOrder
from webapp.orders.services import place_orders


@pytest.fixture(autouse=True)
def _catalogue(orders_database: str) -> None:
    create_products()


def test_the_same_key_and_content_return_the_same_order() -> None:
    first = place()
    second = place(lines=[Item("MUG", 1), Item("TEA", 2)])
    assert second == first
    assert emitted_topics() == ["signal.OrderPlaced"]


def test_the_same_order_stays_the_same_when_prices_have_changed() -> None:
    first = place()
    Product.objects.update(price=1)
    assert place().amount == first.amount


@pytest.mark.parametrize(
    "changed",
    [
        {"customer": "bob"},
        {"lines": [Item("TEA", 3), Item("MUG", 1)]},
        {"lines": [Item("TEA", 2, 1), Item("MUG", 1)]},
    ],
)
def test_the_same_key_with_other_content_is_a_conflict(changed: dict[str, Any]) -> None:
    first = place()
    with transaction.atomic():
        with pytest.raises(IdempotencyConflict) as conflict:
            place(**changed)
        assert (conflict.value.key, conflict.value.order) == ("k1", first.id)
        place(idempotency_key="k2")
    assert Order.objects.count() == 2


def test_a_conflict_keeps_its_whole_batch_out() -> None:
    place()
    with pytest.raises(IdempotencyConflict):
        place_orders([NewOrder("ann", [Item("TEA", 1)], "new"), NewOrder("ann", [Item("TEA", 1)], "k1")])
    assert Order.objects.count() == 1


def test_a_batch_may_hold_the_same_order_twice() -> None:
    one, two = place_orders([NewOrder("ann", [Item("TEA", 1)], "same")] * 2)
    assert one == two
    assert (Order.objects.count(), OrderLine.objects.count(), Saga.objects.count()) == (1, 1, 1)


def test_a_double_click_in_eight_threads_places_one_order() -> None:
    together = Barrier(8)

    def click(_: int) -> int:
        try:
            together.wait(timeout=scaled(20))
            return place().id
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        numbers = set(threads.map(click, range(8)))
    assert len(numbers) == 1
    assert (Order.objects.count(), Saga.objects.count(), len(emitted_topics())) == (1, 1, 1)


def test_the_same_batch_in_opposite_order_does_not_deadlock() -> None:
    batch = [NewOrder("ann", [Item("TEA", 1)], f"key-{n}") for n in range(50)]
    together = Barrier(2)

    def seed(orders: list[NewOrder]) -> set[int]:
        try:
            together.wait(timeout=scaled(20))
            return {order.id for order in place_orders(orders)}
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(seed, [batch, batch[::-1]])
    assert one == two
    assert Saga.objects.count() == 50
