"""Stock under concurrency, and under random sequences of operations."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import Session

from tests.support.time_scale import scaled
from tests.workers.factories import add_stock, find_stock_mismatches, order_placed, saga_id, stock_counters
from workers.inventory import stock
from workers.signals import OrderPlaced


def hold_and_commit(inventory_engine: Engine, orders: dict[str, OrderPlaced]) -> dict[str, str]:
    with Session(inventory_engine) as session, session.begin():
        return stock.hold(session, orders)


def test_two_sessions_contend_for_the_last_unit(
    inventory_engine: Engine, wait_for_lock_waiter: Callable[[Engine], None]
) -> None:
    with Session(inventory_engine) as session, session.begin():
        add_stock(session, last=1)
    with ThreadPoolExecutor(1) as pool:
        with Session(inventory_engine) as first, first.begin():
            assert stock.hold(first, {saga_id(1002): order_placed(("last", 1))}) == {}
            second = pool.submit(
                hold_and_commit, inventory_engine, {saga_id(1001): order_placed(("last", 1))}
            )
            wait_for_lock_waiter(inventory_engine)
        assert second.result(timeout=scaled(10)) == {saga_id(1001): "last"}
    with Session(inventory_engine) as session:
        assert stock_counters(session, "last") == {"received": 1, "on_hand": 0, "held": 1, "sold": 0}


def test_the_last_unit_is_free_after_a_rollback(
    inventory_engine: Engine, wait_for_lock_waiter: Callable[[Engine], None]
) -> None:
    with Session(inventory_engine) as session, session.begin():
        add_stock(session, spare=1)
    with ThreadPoolExecutor(1) as pool:
        with Session(inventory_engine) as first:
            assert stock.hold(first, {saga_id(1003): order_placed(("spare", 1))}) == {}
            second = pool.submit(
                hold_and_commit, inventory_engine, {saga_id(1004): order_placed(("spare", 1))}
            )
            wait_for_lock_waiter(inventory_engine)
            first.rollback()
        assert second.result(timeout=scaled(10)) == {}


def test_batches_of_the_same_skus_never_deadlock(inventory_engine: Engine) -> None:
    goods = [f"shared{n}" for n in range(12)]
    with Session(inventory_engine) as session, session.begin():
        stock.receive(session, dict.fromkeys(goods, 150))

    def compete(worker: int) -> None:
        chance = random.Random(worker)
        for turn in range(12):
            orders = {
                saga_id(worker * 10_000 + turn * 100 + n): order_placed(
                    *((sku, 1) for sku in chance.sample(goods, 4))
                )
                for n in range(20)
            }
            held = orders.keys() - hold_and_commit(inventory_engine, orders).keys()
            with Session(inventory_engine) as session, session.begin():
                stock.release(session, [s for s in sorted(held) if chance.random() < 0.5])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(compete, range(1, 5), timeout=scaled(120)))
    with Session(inventory_engine) as session:
        assert find_stock_mismatches(session) == []


def test_stock_changed_without_the_lock_is_not_sold_twice(
    inventory_engine: Engine,
) -> None:
    with Session(inventory_engine) as session, session.begin():
        add_stock(session, gem=1)
    thief = create_engine(inventory_engine.url)

    def move(change: str) -> None:
        with thief.begin() as connection:
            connection.execute(text(f"UPDATE product SET {change} WHERE sku = 'gem'"))

    def steal(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("SELECT sku, on_hand"):
            move("on_hand = 0, sold = 1")

    event.listen(inventory_engine, "after_cursor_execute", steal)
    with pytest.raises(stock.StockMoved, match="gem"):
        hold_and_commit(inventory_engine, {saga_id(1005): order_placed(("gem", 1))})
    move("on_hand = 1, sold = 0")
    thief.dispose()


Goods = tuple[tuple[str, int], ...]


class ReferenceStock:
    """A simple reference for the stock of a product."""

    def __init__(self) -> None:
        self.on_hand: dict[str, int] = {}
        self.holding: dict[str, Goods] = {}
        self.sold: dict[str, int] = {}

    def hold(self, orders: dict[str, Goods]) -> set[str]:
        refused = set()
        for key in sorted(orders):
            total = {sku: sum(n for s, n in orders[key] if s == sku) for sku, _ in orders[key]}
            if all(self.on_hand.get(sku, 0) >= n for sku, n in total.items()):
                self.holding[key] = orders[key]
                for sku, n in total.items():
                    self.on_hand[sku] -= n
            else:
                refused.add(key)
        return refused

    def end(self, key: str, ledger: dict[str, int]) -> None:
        for sku, n in self.holding.pop(key):
            ledger[sku] = ledger.get(sku, 0) + n


SKUS = st.sampled_from(["a", "b", "c"])
ORDERS = st.lists(
    st.tuples(SKUS, st.integers(1, 4)), min_size=1, max_size=3, unique_by=lambda line: line[0]
).map(tuple)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("receive"), st.dictionaries(SKUS, st.integers(0, 9), min_size=1)),
        st.tuples(st.just("hold"), st.lists(ORDERS, min_size=1, max_size=6)),
        st.tuples(st.sampled_from(["release", "ship"]), st.sets(st.integers(0, 30), min_size=1)),
    ),
    max_size=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES, chance=st.randoms(use_true_random=False))
def test_stock_matches_a_simple_reference_count(
    inventory_engine: Engine, moves: list[Any], chance: random.Random
) -> None:
    shelf, numbers = ReferenceStock(), itertools.count()
    with Session(inventory_engine) as session:
        for kind, what in moves:
            if kind == "receive":
                stock.receive(session, what)
                for sku, n in what.items():
                    shelf.on_hand[sku] = shelf.on_hand.get(sku, 0) + n
            elif kind == "hold":
                orders = {saga_id(next(numbers)): goods for goods in what}
                shuffled = chance.sample(sorted(orders), len(orders))
                refused = stock.hold(session, {key: order_placed(*orders[key]) for key in shuffled})
                assert refused.keys() == shelf.hold(orders)
            else:
                chosen = [key for n, key in enumerate(sorted(shelf.holding)) if n in what]
                (stock.release if kind == "release" else stock.ship)(session, chosen)
                for key in chosen:
                    shelf.end(key, shelf.on_hand if kind == "release" else shelf.sold)
            assert find_stock_mismatches(session) == []
        for sku, on_hand in shelf.on_hand.items():
            seen = stock_counters(session, sku)
            assert (seen["on_hand"], seen["sold"]) == (on_hand, shelf.sold.get(sku, 0))
        session.rollback()
