"""The contract of the order saga: what begins it, who takes part, how long it may take."""

from __future__ import annotations

from ordersaga.saga import Saga, Watchdog
from workers.settings import settings
from workers.signals import CancelAsked, OrderPlaced

order_saga = Saga(
    "order",
    begins_with=OrderPlaced,
    initiator="orders",
    participants=tuple(module.rsplit(".", 1)[-1] for module in settings().participants),
    deadline=settings().deadline,
    asks=(CancelAsked,),
    watchdog=Watchdog(settings().watchdog, settings().watchdog_cap, settings().watchdog_rounds),
)
