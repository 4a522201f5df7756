"""Rehearse a choreography in one process, without a broker: real databases, real steps, mail in an order
chosen by a seed.
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

TIMERS = "UPDATE ordersaga_outbox SET due_at = now() WHERE participant = %s AND kind = %s AND saga_id = coalesce(%s, saga_id)"
# retries and what observers hear fall due later; in a rehearsal nobody waits for them
RETRIES = """
UPDATE ordersaga_outbox SET due_at = now()
WHERE participant = %s AND (kind IN ('retry', 'paused') OR topic = 'notice' OR recipient = %s)
"""


class Mail(NamedTuple):
    """An envelope on its way to one participant."""

    to: str
    envelope: OutgoingEnvelope


class Rehearsal:
    """A choreography's participants with a broker made of a list.

    Envelopes are delivered one at a time in an order drawn from ``seed``; each may be delivered again, and
    ``lose`` may drop some. The participants' databases are used as they are: point them at databases of the
    test's own.
    """

    def __init__(
        self,
        choreography: Choreography,
        *,
        seed: int = 0,
        repeats: float = 0.0,
        lose: Callable[[Mail], bool] = lambda _: False,
    ) -> None:
        """:param repeats: the chance that a delivered envelope is delivered once more, later.
        :param lose: asked once for each envelope and recipient; True drops it for good.
        """
        self.choreography, self._random, self._repeats, self._lose = (
            choreography,
            random.Random(seed),
            repeats,
            lose,
        )
        self.receivers = {name: Receiver(p, choreography) for name, p in choreography.participants.items()}
        self.mail: list[Mail] = []
        self.delivered: Counter[str] = Counter()

    def collect(self, *participants: str, retries: bool = True) -> int:
        """Take what is due out of the outboxes (all, or those of ``participants``) into the mail; gives how
        many envelopes.

        :param retries: whether retries, and what observers hear, are due at once.
        """
        before = len(self.mail)
        for name in participants or self.choreography.participants:
            with self.choreography.participants[name].database.begin() as tx:
                if retries:
                    tx.cursor.execute(RETRIES, [name, OBSERVERS])
                claimed = claim(tx.cursor, name, self.choreography)
            if claimed.refused:
                raise ValueError(
                    f"the outbox of {name} holds what cannot be published: {claimed.refused[0].fault}"
                )
            for envelope in claimed.envelopes:
                self.mail += [m for m in self._addressed(envelope) if not self._lose(m)]
        return len(self.mail) - before

    def deliver(self, mail: Mail) -> None:
        """Hand one envelope to its participant; it is taken out of the mail, or left there to be repeated."""
        if mail in self.mail and self._random.random() >= self._repeats:
            self.mail.remove(mail)
        self.delivered[f"{mail.to} {mail.envelope.topic}"] += 1
        self.receivers[mail.to].receive(
            mail.envelope.topic, mail.envelope.body, Delivery(task=mail.envelope.id)
        )

    def waiting(self, to: str, topic: str) -> list[Mail]:
        """The envelopes of a topic (``signal.OrderPlaced``) that wait for a participant."""
        return [mail for mail in self.mail if mail.to == to and mail.envelope.topic == topic]

    def run(self, *, steps: int = 10_000) -> None:
        """Deliver until no mail is left and no outbox owes any. Timers wait: see :meth:`due`.

        :raises AssertionError: after so many deliveries without an end.
        """
        for _ in range(steps):
            if (
                not self.collect() and not self.mail and not self.collect()
            ):  # observers' copies come due once the rest has left
                return
            self.deliver(self._random.choice(self.mail))
        raise AssertionError(f"the saga does not end: {dict(self.delivered)}")

    def due(self, kind: str, saga: str | None = None) -> None:
        """Make the timers of this kind (``deadline``, ``watchdog``) due now, for one saga or for all."""
        initiator = self.choreography.saga.initiator
        with self.choreography.participants[initiator].database.begin() as tx:
            tx.cursor.execute(TIMERS, [initiator, kind, saga])

    def _addressed(self, envelope: OutgoingEnvelope) -> Iterator[Mail]:
        for name, participant in self.choreography.participants.items():
            if any(_matches(key, envelope.routing_key) for key in self.choreography.bindings(participant)):
                yield Mail(name, envelope)


def _matches(pattern: str, key: str) -> bool:
    return key.startswith(pattern[:-1]) if pattern.endswith("#") else pattern == key
