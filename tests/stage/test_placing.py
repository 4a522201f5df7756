"""Placing and cancelling an order: what is refused, what is written, and what happens twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from webapp.orders.cancelling import cancel_order
from webapp.orders.draft import Item, NewOrder
from webapp.orders.errors import IdempotencyConflict, OrderRefused
from webapp.orders.models import Order, OrderLine, Product, Saga
from webapp.orders.placing import place_order, place_orders
from workers.signals import MAX_LINES, MAX_QUANTITY

ENGINE_STATEMENTS = 8
"""The most that starting a saga may take: its row, pack, outbox, timers, and waking the relay."""


@pytest.fixture(autouse=True)
def _catalogue(orders_database: str) -> None:
    Product.objects.bulk_create(
        [
            Product(sku="TEA", name="Tea", price=450, currency="EUR"),
            Product(sku="MUG", name="Mug", price=1200, currency="EUR"),
            Product(sku="FREE", name="Sample", price=0, currency="EUR"),
            Product(sku="HAT", name="Hat", price=2500, currency="GBP"),
            Product(sku="GOLD", name="Gold", price=10**12, currency="EUR"),
        ]
    )


def place(**changed: Any) -> Order:
    wanted = {"customer": "ann", "lines": [Item("TEA", 2), Item("MUG", 1)], "idempotency_key": "k1", **changed}
    return place_order(**wanted)


def said() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT topic FROM ordersaga_outbox WHERE kind = 'said' ORDER BY id")
        return [topic for (topic,) in cursor.fetchall()]


def nothing_is_written() -> bool:
    return not (Order.objects.exists() or Saga.objects.exists() or OrderLine.objects.exists() or said())


# -------------------------------------------------------------------------------- what is written


def test_an_order_is_written_with_its_lines_its_saga_and_its_first_signal() -> None:
    order = place()
    assert Order.objects.get().amount == 2 * 450 + 1200 == order.amount
    lines = OrderLine.objects.values_list("number", "product_id", "quantity", "amount")
    assert list(lines) == [(1, "TEA", 2, 900), (2, "MUG", 1, 1200)]
    assert order.status == "PENDING"
    assert order.saga.deadline_at > order.placed_at
    assert said() == ["signal.OrderPlaced"]


def test_the_order_given_back_is_the_row_as_written() -> None:
    order = place()
    stored = Order.objects.get(pk=order.pk)
    assert {f.attname: getattr(order, f.attname) for f in Order._meta.fields} == {
        f.attname: getattr(stored, f.attname) for f in Order._meta.fields
    }


def test_an_order_joins_the_callers_transaction_and_falls_with_it() -> None:
    with transaction.atomic():
        place()
        transaction.set_rollback(True)
    assert nothing_is_written()


def test_an_amount_given_for_a_line_stands_instead_of_price_times_quantity() -> None:
    assert place(lines=[Item("TEA", 3, 1000), Item("MUG", 1)]).amount == 2200


def test_an_order_that_costs_nothing_is_placed() -> None:
    assert place(lines=[Item("FREE", 1)]).amount == 0


def test_placing_takes_three_statements_and_the_engines() -> None:
    place(idempotency_key="warm")
    with CaptureQueriesContext(connection) as captured:
        place()
    ours = [q["sql"] for q in captured if "orders_" in q["sql"] and "ordersaga_" not in q["sql"]]
    assert len(ours) == 2, "the catalogue is read, order and lines are written"
    assert len(captured) <= len(ours) + ENGINE_STATEMENTS + len(["BEGIN", "COMMIT"])


def test_twenty_orders_take_no_more_statements_than_one() -> None:
    place(idempotency_key="warm")
    with CaptureQueriesContext(connection) as one:
        place(idempotency_key="one")
    with CaptureQueriesContext(connection) as twenty:
        placed = place_orders(NewOrder("ann", [Item("TEA", n)], f"key-{n}") for n in range(1, 21))
    assert [order.amount for order in placed] == [450 * n for n in range(1, 21)]
    assert len(twenty) <= len(one)


def test_one_bad_order_keeps_its_whole_batch_out() -> None:
    with pytest.raises(OrderRefused):
        place_orders([NewOrder("ann", [Item("TEA", 1)], "a"), NewOrder("ann", [Item("NONE", 1)], "b")])
    assert nothing_is_written()


# -------------------------------------------------------------------------------- what is refused

LONG = [Item(f"S{n}", 1) for n in range(MAX_LINES + 1)]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"lines": [Item("NONE", 1)]}, "lines[0].sku"),
        ({"lines": [Item("TEA", 1), Item("TEA", 2)]}, "lines[1].sku"),
        ({"lines": [Item("TEA", 1), Item("HAT", 1)]}, "lines[1].sku"),
        ({"lines": [Item("TEA\0", 1)]}, "lines[0].sku"),
        ({"lines": [Item("TEA\n", 1)]}, "lines[0].sku"),
        ({"lines": [Item("\ud800", 1)]}, "lines[0].sku"),
        ({"lines": [Item("T" * 65, 1)]}, "lines[0].sku"),
        ({"lines": [Item("TEA", 0)]}, "lines[0].quantity"),
        ({"lines": [Item("TEA", -1)]}, "lines[0].quantity"),
        ({"lines": [Item("TEA", MAX_QUANTITY + 1)]}, "lines[0].quantity"),
        ({"lines": [Item("TEA", 10**30)]}, "lines[0].quantity"),
        ({"lines": [Item("TEA", True)]}, "lines[0].quantity"),
        ({"lines": [Item("TEA", 1.5)]}, "lines[0].quantity"),  # type: ignore[arg-type]
        ({"lines": [Item("TEA", "2")]}, "lines[0].quantity"),  # type: ignore[arg-type]
        ({"lines": [Item("TEA", 1, -1)]}, "lines[0].amount"),
        ({"lines": [Item("GOLD", 2)]}, "lines[0].amount"),
        ({"lines": [Item("GOLD", 1), Item("TEA", 1)]}, "amount"),
        ({"lines": []}, "lines"),
        ({"lines": LONG}, "lines"),
        ({"customer": ""}, "customer"),
        ({"customer": "a\0b"}, "customer"),
        ({"customer": "\udfff"}, "customer"),
        ({"customer": "c" * 65}, "customer"),
        ({"currency": "euro", "lines": [Item("TEA", 1)]}, "lines[0].sku"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "k" * 129}, "idempotency_key"),
        ({"idempotency_key": "k\0"}, "idempotency_key"),
        ({"idempotency_key": "k\ud800"}, "idempotency_key"),
        ({"idempotency_key": None}, "idempotency_key"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_by_the_name_of_its_field(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(OrderRefused) as refused:
        place(**changed)
    assert refused.value.field == field
    assert refused.value.remedy
    assert nothing_is_written()


def test_a_refusal_leaves_the_callers_transaction_usable() -> None:
    with transaction.atomic():
        with pytest.raises(OrderRefused):
            place(lines=[])
        place()
    assert Order.objects.count() == 1


# -------------------------------------------------------------------------------- what comes twice


def test_the_same_key_and_content_give_the_same_order_back_and_say_nothing_more() -> None:
    first = place()
    second = place(lines=[Item("MUG", 1), Item("TEA", 2)])
    assert second == first
    assert said() == ["signal.OrderPlaced"]


def test_the_same_order_stays_the_same_when_prices_have_changed() -> None:
    first = place()
    Product.objects.update(price=1)
    assert place().amount == first.amount


@pytest.mark.parametrize(
    "changed",
    [{"customer": "bob"}, {"lines": [Item("TEA", 3), Item("MUG", 1)]}, {"lines": [Item("TEA", 2, 1), Item("MUG", 1)]}],
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
            together.wait(timeout=20)
            return place().id
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        numbers = set(threads.map(click, range(8)))
    assert len(numbers) == 1
    assert (Order.objects.count(), Saga.objects.count(), len(said())) == (1, 1, 1)


def test_two_who_place_the_same_batch_in_opposite_order_do_not_deadlock() -> None:
    batch = [NewOrder("ann", [Item("TEA", 1)], f"key-{n}") for n in range(50)]
    together = Barrier(2)

    def seed(orders: list[NewOrder]) -> set[int]:
        try:
            together.wait(timeout=20)
            return {order.id for order in place_orders(orders)}
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(seed, [batch, batch[::-1]])
    assert one == two
    assert Saga.objects.count() == 50


# -------------------------------------------------------------------------------- cancelling


def test_a_cancel_is_recorded_with_its_signal_in_one_transaction() -> None:
    order = place()
    request = cancel_order(order, "ann")
    assert (request.asked_by, request.outcome) == ("ann", None)
    assert said() == ["signal.OrderPlaced", "signal.CancelAsked"]


def test_asking_twice_is_one_request() -> None:
    order = place()
    assert cancel_order(order, "ann") == cancel_order(order, "shop")
    assert order.cancel_request.asked_by == "ann"


def test_an_answered_request_says_nothing_more() -> None:
    order = place()
    request = cancel_order(order, "ann")
    request.outcome, request.answered_at = "too_late", request.asked_at
    request.save()
    cancel_order(order, "ann")
    assert said().count("signal.CancelAsked") == 1
