"""Stock is held for an order completely or not at all, exactly, and by the batch."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from ordersaga import Batch
from tests.workers.factories import add_stock, find_stock_mismatches, order_placed, saga_id, stock_counters
from workers.inventory import seed, stock
from workers.inventory.steps import release_stock, reserve_stock, ship_stock
from workers.signals import OrderConfirmed, OutOfStock, StockReleased, StockReserved, StockShipped

# -- holding ---------------------------------------------------------------------------------------------


def test_an_order_that_fits_is_held_line_by_line(inventory_session: Session) -> None:
    add_stock(inventory_session, tea=5, cup=5)
    assert stock.hold(inventory_session, {saga_id(1): order_placed(("tea", 2), ("cup", 1))}) == {}
    assert stock_counters(inventory_session, "tea") == {"received": 5, "on_hand": 3, "held": 2, "sold": 0}
    assert stock_counters(inventory_session, "cup") == {"received": 5, "on_hand": 4, "held": 1, "sold": 0}
    assert find_stock_mismatches(inventory_session) == []


def test_all_lines_of_an_order_are_held_or_none(inventory_session: Session) -> None:
    add_stock(inventory_session, tea=5, cup=5, pot=0)
    assert stock.hold(inventory_session, {saga_id(1): order_placed(("tea", 2), ("pot", 1), ("cup", 1))}) == {
        saga_id(1): "pot"
    }
    assert (
        stock_counters(inventory_session, "tea")["held"]
        == stock_counters(inventory_session, "cup")["held"]
        == 0
    )
    assert find_stock_mismatches(inventory_session) == []


def test_the_first_sku_out_of_stock_is_named(inventory_session: Session) -> None:
    add_stock(inventory_session, tea=1, cup=1)
    assert stock.hold(inventory_session, {saga_id(1): order_placed(("tea", 1), ("cup", 2), ("pot", 9))}) == {
        saga_id(1): "cup"
    }


def test_an_unknown_sku_is_out_of_stock(inventory_session: Session) -> None:
    add_stock(inventory_session, tea=1)
    assert stock.hold(
        inventory_session,
        {saga_id(1): order_placed(("tea", 1), ("unicorn", 1)), saga_id(2): order_placed(("tea", 1))},
    ) == {saga_id(1): "unicorn"}


def test_a_refused_order_leaves_stock_for_a_smaller_one(inventory_session: Session) -> None:
    add_stock(inventory_session, tea=5)
    orders = {
        saga_id(1): order_placed(("tea", 3)),
        saga_id(2): order_placed(("tea", 3)),
        saga_id(3): order_placed(("tea", 2)),
    }
    assert stock.hold(inventory_session, orders) == {saga_id(2): "tea"}
    assert stock_counters(inventory_session, "tea")["on_hand"] == 0


def test_orders_of_a_batch_are_served_by_saga_id(inventory_session: Session) -> None:
    add_stock(inventory_session, tea=5)
    orders = [
        (saga_id(1), order_placed(("tea", 3))),
        (saga_id(2), order_placed(("tea", 3))),
        (saga_id(3), order_placed(("tea", 2))),
    ]
    for arrangement in itertools.permutations(orders):
        with inventory_session.begin_nested() as savepoint:
            assert stock.hold(inventory_session, dict(arrangement)) == {saga_id(2): "tea"}
            savepoint.rollback()


def test_four_hundred_orders_take_as_few_statements_as_one(
    inventory_session: Session, inventory_engine: Engine
) -> None:
    statements: list[str] = []
    add_stock(inventory_session, **{f"sku{n}": 100 for n in range(40)})
    event.listen(inventory_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    orders = {saga_id(n): order_placed((f"sku{n % 40}", 1)) for n in range(400)}
    assert stock.hold(inventory_session, orders) == {}
    assert len(statements) == 5
    statements.clear()
    stock.release(inventory_session, orders)
    assert len(statements) == 5
    assert find_stock_mismatches(inventory_session) == []


def test_a_batch_of_very_many_skus_does_not_exhaust_the_lock_table(inventory_session: Session) -> None:
    goods = [f"sku-{n}" for n in range(3000)]
    stock.receive(inventory_session, dict.fromkeys(goods, 1))
    orders = {
        saga_id(n): order_placed(*((sku, 1) for sku in goods[n * 100 : n * 100 + 100])) for n in range(30)
    }
    assert stock.hold(inventory_session, orders) == {}
    held = inventory_session.scalar(
        text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    )
    assert held is not None
    assert 0 < held <= stock.LOCK_SLOTS


# -- releasing, shipping ---------------------------------------------------------------------------------


def test_released_units_are_on_hand_again(inventory_session: Session) -> None:
    add_stock(inventory_session, tea=5)
    stock.hold(
        inventory_session, {saga_id(1): order_placed(("tea", 2)), saga_id(2): order_placed(("tea", 1))}
    )
    stock.release(inventory_session, [saga_id(1)])
    assert stock_counters(inventory_session, "tea") == {"received": 5, "on_hand": 4, "held": 1, "sold": 0}
    assert find_stock_mismatches(inventory_session) == []


def test_shipped_units_are_sold(inventory_session: Session) -> None:
    add_stock(inventory_session, tea=5)
    stock.hold(inventory_session, {saga_id(1): order_placed(("tea", 2))})
    stock.ship(inventory_session, [saga_id(1)])
    assert stock_counters(inventory_session, "tea") == {"received": 5, "on_hand": 3, "held": 0, "sold": 2}
    assert find_stock_mismatches(inventory_session) == []


@pytest.mark.parametrize("first", [stock.release, stock.ship], ids=["released", "shipped"])
@pytest.mark.parametrize("again", [stock.release, stock.ship], ids=["release", "ship"])
def test_released_or_shipped_units_are_not_held(
    inventory_session: Session, first: object, again: object
) -> None:
    assert callable(first)
    assert callable(again)
    add_stock(inventory_session, tea=5)
    stock.hold(
        inventory_session, {saga_id(1): order_placed(("tea", 2)), saga_id(2): order_placed(("tea", 2))}
    )
    first(inventory_session, [saga_id(1)])
    before = stock_counters(inventory_session, "tea")
    with pytest.raises(stock.NotHeld, match=saga_id(1)) as refused, inventory_session.begin_nested():
        again(inventory_session, [saga_id(1), saga_id(2)])
    assert refused.value.sagas == {saga_id(1)}
    assert stock_counters(inventory_session, "tea") == before


def test_a_saga_that_holds_nothing_has_nothing_to_release(inventory_session: Session) -> None:
    with pytest.raises(stock.NotHeld, match=saga_id(7)):
        stock.release(inventory_session, [saga_id(7)])


# -- seed, steps -----------------------------------------------------------------------------------------


def test_seeding_twice_only_refills_missing_units(inventory_session: Session) -> None:
    assert seed.receive(inventory_session, {"tea": 5, "cup": 3, "pot": 0}) == 8
    assert seed.receive(inventory_session, {"tea": 5, "cup": 3, "pot": 0}) == 0
    stock.hold(inventory_session, {saga_id(1): order_placed(("tea", 4))})
    assert seed.receive(inventory_session, {"tea": 5, "cup": 1}) == 4
    assert stock_counters(inventory_session, "tea") == {"received": 9, "on_hand": 5, "held": 4, "sold": 0}
    assert stock_counters(inventory_session, "cup")["on_hand"] == 3
    assert stock.hold(inventory_session, {saga_id(2): order_placed(("pot", 1))}) == {saga_id(2): "pot"}
    assert find_stock_mismatches(inventory_session) == []


def test_the_steps_return_the_outcome_of_each_saga(inventory_session: Session) -> None:
    add_stock(inventory_session, tea=1)
    output = reserve_stock.function(
        Batch({saga_id(1): order_placed(("tea", 1)), saga_id(2): order_placed(("tea", 1))}), inventory_session
    )
    reserved = StockReserved(order="O-1", customer="ada", currency="EUR", amount=100)
    assert dict(output) == {saga_id(1): reserved, saga_id(2): OutOfStock(order="O-1", sku="tea")}
    undone = release_stock.function(Batch({saga_id(1): reserved}), inventory_session)
    assert dict(undone) == {saga_id(1): StockReleased(order="O-1")}
    reserve_stock.function(Batch({saga_id(3): order_placed(("tea", 1))}), inventory_session)
    shipped = ship_stock.function(Batch({saga_id(3): OrderConfirmed(order="O-1")}), inventory_session)
    assert dict(shipped) == {saga_id(3): StockShipped(order="O-1")}
