"""The real inventory with the faults of :mod:`..skus`, and with short retries so that tests are quick."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import timedelta
from functools import wraps
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from ordersaga import Batch, Retry, Signal
from ordersaga.celery import hung_children
from tests.support.fault_injection import skus
from tests.support.fault_injection.switches import switches
from workers.inventory.steps import participant, release_stock, reserve_stock, ship_stock
from workers.signals import OrderConfirmed, OrderPlaced, StockReserved

ATTEMPTS = text(
    "SELECT coalesce(max(attempts), 0) FROM ordersaga_journal WHERE saga_id = :saga AND step = :step"
)
ORDERED = text("SELECT DISTINCT sku FROM reservation WHERE saga_id = ANY(CAST(:sagas AS uuid[]))")

__all__ = ["participant"]


class InjectedFault(Exception):
    pass


def before_reserving(orders: Batch[OrderPlaced], db: Session) -> None:
    if switches().is_on(skus.RESERVING_FAILS):
        raise InjectedFault("a bad release")
    for saga, order in orders.items():
        asked = {line.sku for line in order.lines}
        if skus.FAILS in asked:
            raise InjectedFault("this never works")
        if skus.LEAKS_CUSTOMER in asked:
            db.execute(text("SELECT CAST(:customer AS integer)"), {"customer": order.customer})
        if skus.FAILS_TWICE in asked and db.scalar(ATTEMPTS, {"saga": saga, "step": reserve_stock.key}) < 2:
            raise InjectedFault("not yet")
        if skus.KILLS in asked:
            switches().record(skus.KILLS)
            os.kill(os.getpid(), signal.SIGKILL)
        if skus.HANGS in asked:
            switches().record(skus.HANGS)
            time.sleep(3600)
        if skus.SLOW_QUERY in asked:
            db.execute(text("SELECT pg_sleep(3600)"))


def after_reserving(orders: Batch[OrderPlaced], _: Session) -> None:
    if {skus.PAUSES, skus.PAUSES_TOO} & {line.sku for order in orders.values() for line in order.lines}:
        switches().record(skus.PAUSES)
        while switches().is_on(skus.PAUSES):
            time.sleep(0.02)


def before_releasing(held: Batch[StockReserved], db: Session) -> None:
    if switches().is_on(skus.UNDO_FAILS) and skus.UNDO_FAILS in _ordered(held, db):
        raise InjectedFault("the undo fails")


def before_shipping(confirmed: Batch[OrderConfirmed], db: Session) -> None:
    if skus.UNSHIPPABLE in _ordered(confirmed, db):
        raise InjectedFault("shipping fails")


def _ordered(sagas: Iterable[str], db: Session) -> Collection[str]:
    return set(db.scalars(ORDERED, {"sagas": list(sagas)}))


def _around(
    function: Callable[..., Any],
    before: Callable[..., None] | None = None,
    after: Callable[..., None] | None = None,
) -> Callable[..., Any]:
    @wraps(function)
    def wrapped(signals: Batch[Signal], db: Session) -> Any:
        if before is not None:
            before(signals, db)
        emitted = function(signals, db)
        if after is not None:
            after(signals, db)
        return emitted

    return wrapped


reserve_stock.function = _around(reserve_stock.function, before_reserving, after_reserving)
ship_stock.function = _around(ship_stock.function, before_shipping)
release_stock.function = _around(release_stock.function, before_releasing)
quick = Retry(
    attempts=int(os.environ.get("TEST_STEP_ATTEMPTS", "3")),
    first=timedelta(milliseconds=100),
    cap=timedelta(milliseconds=300),
)
reserve_stock.retry = ship_stock.retry = quick
release_stock.retry = replace(quick, attempts=2)
reserve_stock.time_limit = timedelta(seconds=float(os.environ.get("TEST_STEP_TIME_LIMIT", "30")))
hung_children.EVERY = float(os.environ.get("TEST_CHILD_HEARTBEAT", hung_children.EVERY))
