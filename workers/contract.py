"""The contract of the order saga: what begins it, who takes part, how long it may take; and its desk for operators."""

from __future__ import annotations

from ordersaga.desk import Desk
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
    known_by="order",
)

order_desk = Desk(order_saga, observed=bool(settings().observers))
"""What operators may do to sagas and dead letters."""
