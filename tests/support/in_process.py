"""Rehearsals of the order saga: real participants and databases in this process, mail in an order of the
test's choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ordersaga import Choreography
from ordersaga.testing import Mail, Rehearsal
from tests.support.db_probe import Books
from tests.support.order_factory import Shop


class Theatre:
    """A shop, its books, and as many rehearsals as a test wants."""

    def __init__(self, choreography: Choreography, shop: Shop, books: Books) -> None:
        self.choreography, self.shop, self.books = choreography, shop, books

    def rehearsal(self, **options: Any) -> Rehearsal:
        """Options as for :class:`ordersaga.testing.Rehearsal`."""
        return Rehearsal(self.choreography, **options)


def deliver_all(rehearsal: Rehearsal, but: Callable[[Mail], bool] = lambda _: False) -> list[Mail]:
    """Deliver, oldest first, until nothing is left but what is held back; that."""
    while True:
        rehearsal.collect()
        deliverable = [mail for mail in rehearsal.mail if not but(mail)]
        if not deliverable:
            return list(rehearsal.mail)
        rehearsal.deliver(deliverable[0])


def to(participant: str, topic: str = "") -> Callable[[Mail], bool]:
    """Whether a mail goes to this participant (with this topic)."""
    return lambda mail: mail.to == participant and topic in mail.envelope.topic
