"""The contract of the order saga, and the actions of its operators."""

from __future__ import annotations

from collections.abc import Sequence

from ordersaga.operations import Operations
from ordersaga.saga import Saga, Watchdog
from ordersaga.step import Retry
from workers.settings import settings
from workers.signals import CancelAsked, OrderPlaced


def _participant_names(modules: Sequence[str]) -> tuple[str, ...]:
    """Each participant has the name of its package."""
    return tuple(module.rsplit(".", 1)[-1] for module in modules)


order_saga = Saga(
    "order",
    begins_with=OrderPlaced,
    initiator="orders",
    participants=_participant_names(settings().participants),
    deadline=settings().deadline,
    accepts=(CancelAsked,),
    watchdog=Watchdog(settings().watchdog, settings().watchdog_cap, settings().watchdog_rounds),
    log_key="order",
)

step_retry = Retry.within(settings().step_retry_horizon)
"""The retries of a step that raises, before its order is rolled back."""

order_operations = Operations(order_saga, observers=_participant_names(settings().observers))
