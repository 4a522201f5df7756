"""Runs order sagas in this process, on real databases; the test chooses the order of deliveries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ordersaga import Choreography
from ordersaga.testing import QueuedEnvelope, Rehearsal
from tests.support.db_probe import DatabaseProbe
from tests.support.order_factory import OrderFactory


class InProcessSagas:
    def __init__(self, choreography: Choreography, factory: OrderFactory, probe: DatabaseProbe) -> None:
        self.choreography, self.factory, self.probe = choreography, factory, probe

    def rehearsal(self, **options: Any) -> Rehearsal:
        """Return a rehearsal; options as for :class:`ordersaga.testing.Rehearsal`."""
        return Rehearsal(self.choreography, **options)


def deliver_all(
    rehearsal: Rehearsal, but: Callable[[QueuedEnvelope], bool] = lambda _: False
) -> list[QueuedEnvelope]:
    """Deliver the oldest first, except those for which ``but`` is true; return the ones left."""
    while True:
        rehearsal.collect()
        deliverable = [queued for queued in rehearsal.queued if not but(queued)]
        if not deliverable:
            return list(rehearsal.queued)
        rehearsal.deliver(deliverable[0])


def to(participant: str, topic: str = "") -> Callable[[QueuedEnvelope], bool]:
    """Return a filter for deliveries to this participant whose topic contains ``topic``."""
    return lambda queued: queued.to == participant and topic in queued.envelope.topic
