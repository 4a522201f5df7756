"""Placing an order: the rows it writes, and the refusals before it writes any."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from ordersaga.envelope import encode_envelope, read_rows
from tests.webapp.sample_orders import create_products, emitted_topics, nothing_is_written, place
from webapp.orders import pricing
from webapp.orders.exceptions import OrderRefused
from webapp.orders.models import Order, OrderLine, Product
from webapp.orders.pricing import Item, NewOrder
from webapp.orders.services import place_orders
from workers.signals import MAX_LINES, MAX_QUANTITY


@pytest.fixture(autouse=True)
def _catalogue(orders_database: str) -> None:
    create_products()


# -------------------------------------------------------------------------------- what is written


def test_placing_writes_order_lines_saga_and_first_signal() -> None:
    order = place()
    assert Order.objects.get().amount == 2 * 450 + 1200 == order.amount
    lines = OrderLine.objects.values_list("number", "product_id", "quantity", "amount")
    assert list(lines) == [(1, "TEA", 2, 900), (2, "MUG", 1, 1200)]
    assert order.status == "PENDING"
    assert order.saga.deadline_at > order.placed_at
    assert emitted_topics() == ["signal.OrderPlaced"]


def test_the_order_given_back_is_the_row_as_written() -> None:
    order = place()
    stored = Order.objects.get(pk=order.pk)
    assert {f.attname: getattr(order, f.attname) for f in Order._meta.fields} == {
        f.attname: getattr(stored, f.attname) for f in Order._meta.fields
    }


def test_an_order_rolls_back_with_the_callers_transaction() -> None:
    with transaction.atomic():
        place()
        transaction.set_rollback(True)
    assert nothing_is_written()


def test_a_given_line_amount_overrides_price_times_quantity() -> None:
    assert place(lines=[Item("TEA", 3, 1000), Item("MUG", 1)]).amount == 2200


def test_an_order_that_costs_nothing_is_placed() -> None:
    assert place(lines=[Item("FREE", 1)]).amount == 0


def test_placing_takes_one_statement_and_no_transaction_around_it() -> None:
    place(idempotency_key="warm")
    with CaptureQueriesContext(connection) as captured:
        place()
    assert len(captured) == 1
    assert emitted_topics() == ["signal.OrderPlaced"] * 2


def test_the_first_signal_has_the_number_from_the_database() -> None:
    order = place()
    with connection.cursor() as cursor:
        cursor.execute("SELECT payload FROM ordersaga_pack")
        [(payload,)] = cursor.fetchall()
    [row] = read_rows(encode_envelope("signal.OrderPlaced", [payload]))
    assert (row.saga, row.data["order"], row.data["amount"]) == (str(order.saga_id), str(order.id), 2100)


def test_a_price_that_has_changed_since_the_last_order_counts_at_once() -> None:
    place(idempotency_key="warm")
    Product.objects.filter(sku="MUG").update(price=1)
    assert place().amount == 2 * 450 + 1
    assert Order.objects.count() == 2


@pytest.mark.parametrize(
    "changed",
    [Product.objects.all().delete, partial(Product.objects.all().update, currency="USD")],
    ids=["gone", "currency"],
)
def test_a_withdrawn_product_is_refused_at_once(changed: Callable[[], object]) -> None:
    place(idempotency_key="warm", lines=[Item("FREE", 1)])
    place(idempotency_key="also warm", lines=[Item("GOLD", 1)])
    Order.objects.all().delete()
    changed()
    with pytest.raises(OrderRefused, match=r"lines\[0\].sku"):
        place(lines=[Item("FREE", 1)])
    assert Order.objects.count() == 0


def test_a_new_product_can_be_ordered_at_once() -> None:
    with pytest.raises(OrderRefused):
        place(lines=[Item("NEW", 1)])
    Product.objects.create(sku="NEW", name="New", price=7, currency="EUR")
    assert place(lines=[Item("NEW", 1)]).amount == 7


def test_lines_from_an_iterator_are_read_once() -> None:
    place(idempotency_key="warm")
    Product.objects.filter(sku="MUG").update(price=1)
    assert place(lines=iter([Item("TEA", 2), Item("MUG", 1)])).amount == 901


def test_a_process_caches_a_limited_number_of_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "MAX_CACHED_PRODUCTS", 2)
    monkeypatch.setattr(pricing, "_cache", {})
    for sku in ("TEA", "MUG", "FREE", "TEA"):
        place(idempotency_key=sku, lines=[Item(sku, 1)])
        assert len(pricing._cache) <= 2


def test_twenty_orders_take_no_more_statements_than_two() -> None:
    with CaptureQueriesContext(connection) as two:
        place_orders(NewOrder("ann", [Item("TEA", n)], f"two-{n}") for n in range(1, 3))
    with CaptureQueriesContext(connection) as twenty:
        placed = place_orders(NewOrder("ann", [Item("TEA", n)], f"key-{n}") for n in range(1, 21))
    assert [order.amount for order in placed] == [450 * n for n in range(1, 21)]
    assert len(twenty) == len(two) <= len(["the catalogue", "BEGIN", "orders and lines", "sagas", "COMMIT"])


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
        ({"currency": "euro", "lines": [Item("TEA", 1)]}, "currency"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "k" * 129}, "idempotency_key"),
        ({"idempotency_key": "k\0"}, "idempotency_key"),
        ({"idempotency_key": "k\ud800"}, "idempotency_key"),
        ({"idempotency_key": None}, "idempotency_key"),
    ],
)
def test_an_invalid_order_is_refused_by_its_field(changed: dict[str, Any], field: str) -> None:
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
