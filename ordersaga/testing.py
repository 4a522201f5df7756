"""Run a choreography in one process without a broker, on real databases.

A seed determines the order in which envelopes are delivered.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ordersaga.choreography import Choreography
from ordersaga.claim import OutgoingEnvelope, claim
from ordersaga.receiver import Delivery, Receiver
from ordersaga.sql.outbox import OBSERVERS

TIMERS = """
UPDATE ordersaga_outbox SET due_at = now()
WHERE participant = %s AND kind = %s AND saga_id = coalesce(%s, saga_id)
"""
# makes retries and messages for observers due at once
RETRIES = """
UPDATE ordersaga_outbox SET due_at = now()
WHERE participant = %s AND (kind IN ('retry', 'paused') OR topic = 'notice' OR recipient = %s)
"""


class QueuedEnvelope(NamedTuple):
    """A published envelope for one participant."""

    to: str
    envelope: OutgoingEnvelope


class Rehearsal:
    """The participants of a choreography with a list in place of the broker.

    Envelopes are delivered one at a time in an order drawn from ``seed``; each may be delivered again, and
    ``lose`` may drop some. The participants must be configured with test databases.
    """

    def __init__(
        self,
        choreography: Choreography,
        *,
        seed: int = 0,
        repeats: float = 0.0,
        lose: Callable[[QueuedEnvelope], bool] = lambda _: False,
    ) -> None:
        """:param repeats: the probability that an envelope is delivered again later.
        :param lose: called once for each envelope and recipient; True drops it.
        """
        self.choreography, self._random = choreography, random.Random(seed)
        self._repeats, self._lose = repeats, lose
        self.receivers = {name: Receiver(p, choreography) for name, p in choreography.participants.items()}
        self.queued: list[QueuedEnvelope] = []
        self.delivered: Counter[str] = Counter()

    def collect(self, *participants: str, retries: bool = True) -> int:
        """Publish the due rows of all outboxes, or those of ``participants``; return the number of envelopes.

        :param retries: whether retries and messages for observers are due at once.
        """
        before = len(self.queued)
        for name in participants or self.choreography.participants:
            with self.choreography.participants[name].database.begin() as tx:
                if retries:
                    tx.cursor.execute(RETRIES, [name, OBSERVERS])
                claimed = claim(tx.cursor, name, self.choreography)
            if claimed.rejected:
                raise ValueError(
                    f"the outbox of {name} holds what cannot be published: {claimed.rejected[0].fault}"
                )
            for envelope in claimed.envelopes:
                self.queued += [m for m in self._addressed(envelope) if not self._lose(m)]
        return len(self.queued) - before

    def deliver(self, queued: QueuedEnvelope) -> None:
        """Deliver one envelope to its participant; it may stay in the list to be delivered again."""
        if queued in self.queued and self._random.random() >= self._repeats:
            self.queued.remove(queued)
        self.delivered[f"{queued.to} {queued.envelope.topic}"] += 1
        self.receivers[queued.to].receive(
            queued.envelope.topic, queued.envelope.body, Delivery(task=queued.envelope.id)
        )

    def waiting(self, to: str, topic: str) -> list[QueuedEnvelope]:
        """The published envelopes of a topic (``signal.OrderPlaced``) for a participant."""
        return [queued for queued in self.queued if queued.to == to and queued.envelope.topic == topic]

    def run(self, *, steps: int = 10_000) -> None:
        """Deliver until no envelope is left and no outbox has a due row.

        Timers do not run before they are due; see :meth:`make_timers_due`.

        :raises AssertionError: when this needs more than ``steps`` deliveries.
        """
        for _ in range(steps):
            # the second call collects observers' copies, which become due when the rest is published
            if not self.collect() and not self.queued and not self.collect():
                return
            self.deliver(self._random.choice(self.queued))
        raise AssertionError(f"the saga does not end: {dict(self.delivered)}")

    def make_timers_due(self, kind: str, saga: str | None = None) -> None:
        """Make the timers of a kind (``deadline``, ``watchdog``) due now, for one saga or for all."""
        initiator = self.choreography.saga.initiator
        with self.choreography.participants[initiator].database.begin() as tx:
            tx.cursor.execute(TIMERS, [initiator, kind, saga])

    def _addressed(self, envelope: OutgoingEnvelope) -> Iterator[QueuedEnvelope]:
        for name, participant in self.choreography.participants.items():
            if any(_matches(key, envelope.routing_key) for key in self.choreography.bindings(participant)):
                yield QueuedEnvelope(name, envelope)


def _matches(pattern: str, key: str) -> bool:
    return key.startswith(pattern[:-1]) if pattern.endswith("#") else pattern == key
