"""The real inventory, with a bad release and an open transaction on demand."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from sqlalchemy.orm import Session

from ordersaga import Batch
from tests.faults.switch_names import BAD_RELEASE, HELD, HOLD
from tests.support.fault_injection.switches import switches
from workers.inventory.steps import participant, reserve_stock
from workers.signals import OrderPlaced

__all__ = ["participant"]


class BadRelease(Exception):
    """Raised for every order by a bad release."""


def _with_faults(reserve: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(reserve)
    def reserve_or_fail(orders: Batch[OrderPlaced], db: Session) -> Any:
        if switches().is_on(BAD_RELEASE):
            switches().record(BAD_RELEASE)
            raise BadRelease("this release cannot reserve anything")
        reserved = reserve(orders, db)
        if switches().is_on(HOLD) and not switches().processes_at(HELD):
            switches().record(HELD)
            while switches().is_on(HOLD):
                time.sleep(0.02)
        return reserved

    return reserve_or_fail


reserve_stock.function = _with_faults(reserve_stock.function)
