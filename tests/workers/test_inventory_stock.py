"""Stock: all of an order or nothing, exactly, and by the batch."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from ordersaga import Batch
from tests.workers.goods import counters, order, saga, stocked, unexplained
from workers.inventory import seed, stock
from workers.inventory.steps import release_stock, reserve_stock, ship_stock
from workers.signals import OrderConfirmed, OutOfStock, StockReleased, StockReserved, StockShipped

# -------------------------------------------------------------------------------------------------------------
# holding


def test_an_order_that_fits_is_held_line_by_line(stockroom: Session) -> None:
    stocked(stockroom, tea=5, cup=5)
    assert stock.hold(stockroom, {saga(1): order(("tea", 2), ("cup", 1))}) == {}
    assert counters(stockroom, "tea") == {"received": 5, "on_hand": 3, "held": 2, "sold": 0}
    assert counters(stockroom, "cup") == {"received": 5, "on_hand": 4, "held": 1, "sold": 0}
    assert unexplained(stockroom) == []


def test_all_lines_of_an_order_are_held_or_none(stockroom: Session) -> None:
    stocked(stockroom, tea=5, cup=5, pot=0)
    assert stock.hold(stockroom, {saga(1): order(("tea", 2), ("pot", 1), ("cup", 1))}) == {saga(1): "pot"}
    assert counters(stockroom, "tea")["held"] == counters(stockroom, "cup")["held"] == 0
    assert unexplained(stockroom) == []


def test_the_first_sku_lacking_is_named(stockroom: Session) -> None:
    stocked(stockroom, tea=1, cup=1)
    assert stock.hold(stockroom, {saga(1): order(("tea", 1), ("cup", 2), ("pot", 9))}) == {saga(1): "cup"}


def test_an_sku_that_inventory_does_not_know_is_out_of_stock(stockroom: Session) -> None:
    stocked(stockroom, tea=1)
    assert stock.hold(
        stockroom, {saga(1): order(("tea", 1), ("unicorn", 1)), saga(2): order(("tea", 1))}
    ) == {saga(1): "unicorn"}


def test_an_order_that_does_not_fit_leaves_room_for_a_later_smaller_one(stockroom: Session) -> None:
    stocked(stockroom, tea=5)
    orders = {saga(1): order(("tea", 3)), saga(2): order(("tea", 3)), saga(3): order(("tea", 2))}
    assert stock.hold(stockroom, orders) == {saga(2): "tea"}
    assert counters(stockroom, "tea")["on_hand"] == 0


def test_orders_are_served_by_saga_and_not_by_their_place_in_the_batch(stockroom: Session) -> None:
    stocked(stockroom, tea=5)
    orders = [(saga(1), order(("tea", 3))), (saga(2), order(("tea", 3))), (saga(3), order(("tea", 2)))]
    for arrangement in itertools.permutations(orders):
        with stockroom.begin_nested() as savepoint:
            assert stock.hold(stockroom, dict(arrangement)) == {saga(2): "tea"}
            savepoint.rollback()


def test_four_hundred_orders_take_as_few_statements_as_one(
    stockroom: Session, inventory_engine: Engine
) -> None:
    statements: list[str] = []
    stocked(stockroom, **{f"sku{n}": 100 for n in range(40)})
    event.listen(inventory_engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    orders = {saga(n): order((f"sku{n % 40}", 1)) for n in range(400)}
    assert stock.hold(stockroom, orders) == {}
    assert len(statements) == 5
    statements.clear()
    stock.release(stockroom, orders)
    assert len(statements) == 5
    assert unexplained(stockroom) == []


def test_a_batch_of_very_many_skus_does_not_exhaust_the_lock_table(stockroom: Session) -> None:
    goods = [f"sku-{n}" for n in range(3000)]
    stock.receive(stockroom, dict.fromkeys(goods, 1))
    orders = {saga(n): order(*((sku, 1) for sku in goods[n * 100 : n * 100 + 100])) for n in range(30)}
    assert stock.hold(stockroom, orders) == {}
    held = stockroom.scalar(
        text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
    )
    assert held is not None
    assert 0 < held <= stock.LOCK_SLOTS


# ------------------------------------------------------------------------------------------------- releasing,
# shipping


def test_what_is_released_is_on_hand_again(stockroom: Session) -> None:
    stocked(stockroom, tea=5)
    stock.hold(stockroom, {saga(1): order(("tea", 2)), saga(2): order(("tea", 1))})
    stock.release(stockroom, [saga(1)])
    assert counters(stockroom, "tea") == {"received": 5, "on_hand": 4, "held": 1, "sold": 0}
    assert unexplained(stockroom) == []


def test_what_is_shipped_is_sold(stockroom: Session) -> None:
    stocked(stockroom, tea=5)
    stock.hold(stockroom, {saga(1): order(("tea", 2))})
    stock.ship(stockroom, [saga(1)])
    assert counters(stockroom, "tea") == {"received": 5, "on_hand": 3, "held": 0, "sold": 2}
    assert unexplained(stockroom) == []


@pytest.mark.parametrize("first", [stock.release, stock.ship], ids=["released", "shipped"])
@pytest.mark.parametrize("again", [stock.release, stock.ship], ids=["release", "ship"])
def test_what_has_left_is_not_held_any_more(stockroom: Session, first: object, again: object) -> None:
    assert callable(first)
    assert callable(again)
    stocked(stockroom, tea=5)
    stock.hold(stockroom, {saga(1): order(("tea", 2)), saga(2): order(("tea", 2))})
    first(stockroom, [saga(1)])
    before = counters(stockroom, "tea")
    with pytest.raises(stock.NotHeld, match=saga(1)) as refused, stockroom.begin_nested():
        again(stockroom, [saga(1), saga(2)])
    assert refused.value.sagas == {saga(1)}
    assert counters(stockroom, "tea") == before


def test_a_saga_that_holds_nothing_has_nothing_to_release(stockroom: Session) -> None:
    with pytest.raises(stock.NotHeld, match=saga(7)):
        stock.release(stockroom, [saga(7)])


# ---------------------------------------------------------------------------------------------------------
# seed, steps


def test_seeding_twice_adds_nothing_and_fills_up_what_has_gone(stockroom: Session) -> None:
    assert seed.receive(stockroom, {"tea": 5, "cup": 3, "pot": 0}) == 8
    assert seed.receive(stockroom, {"tea": 5, "cup": 3, "pot": 0}) == 0
    stock.hold(stockroom, {saga(1): order(("tea", 4))})
    assert seed.receive(stockroom, {"tea": 5, "cup": 1}) == 4
    assert counters(stockroom, "tea") == {"received": 9, "on_hand": 5, "held": 4, "sold": 0}
    assert counters(stockroom, "cup")["on_hand"] == 3
    assert stock.hold(stockroom, {saga(2): order(("pot", 1))}) == {saga(2): "pot"}
    assert unexplained(stockroom) == []


def test_the_steps_say_for_each_saga_what_became_of_it(stockroom: Session) -> None:
    stocked(stockroom, tea=1)
    said = reserve_stock.function(Batch({saga(1): order(("tea", 1)), saga(2): order(("tea", 1))}), stockroom)
    reserved = StockReserved(order="O-1", customer="ada", currency="EUR", amount=100)
    assert dict(said) == {saga(1): reserved, saga(2): OutOfStock(order="O-1", sku="tea")}
    undone = release_stock.function(Batch({saga(1): reserved}), stockroom)
    assert dict(undone) == {saga(1): StockReleased(order="O-1")}
    reserve_stock.function(Batch({saga(3): order(("tea", 1))}), stockroom)
    shipped = ship_stock.function(Batch({saga(3): OrderConfirmed(order="O-1")}), stockroom)
    assert dict(shipped) == {saga(3): StockShipped(order="O-1")}
