"""Runs order sagas in this process, on real databases; the test chooses the order of deliveries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ordersaga import Choreography
from ordersaga.testing import Mail, Rehearsal
from tests.support.db_probe import DatabaseProbe
from tests.support.order_factory import OrderFactory


class InProcessSagas:
    def __init__(self, choreography: Choreography, factory: OrderFactory, probe: DatabaseProbe) -> None:
        self.choreography, self.factory, self.probe = choreography, factory, probe

    def rehearsal(self, **options: Any) -> Rehearsal:
        """Return a rehearsal; options as for :class:`ordersaga.testing.Rehearsal`."""
        return Rehearsal(self.choreography, **options)


def deliver_all(rehearsal: Rehearsal, but: Callable[[Mail], bool] = lambda _: False) -> list[Mail]:
    """Deliver the oldest first, except those for which ``but`` is true; return the ones left."""
    while True:
        rehearsal.collect()
        deliverable = [mail for mail in rehearsal.mail if not but(mail)]
        if not deliverable:
            return list(rehearsal.mail)
        rehearsal.deliver(deliverable[0])


def to(participant: str, topic: str = "") -> Callable[[Mail], bool]:
    """Return a filter for deliveries to this participant whose topic contains ``topic``."""
    return lambda mail: mail.to == participant and topic in mail.envelope.topic
