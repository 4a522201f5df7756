"""Which addresses (routing keys) refuse envelopes, and when each may be tried again."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from ordersaga.claim import OutgoingEnvelope


@dataclass
class _Backoff:
    fault: str
    wait: float
    until: float
    refuses: bool = True


class RoutingKeyBackoff:
    """The addresses of one relay that refuse envelopes; an address is a routing key.

    A topic may be bound to several queues of which one refuses, and each new attempt duplicates the message
    in the others. A refusing address is therefore tried with one envelope at a time, at growing intervals.
    After a success the postponed rows become due one claim at a time, so that they do not overfill the queue.
    """

    FIRST, CAP = 1.0, 30.0
    """Seconds between tries: the first interval, which doubles, and the longest."""
    PARKED = 300.0
    """Seconds for which the other rows are postponed; they become due even if this relay has died."""

    def __init__(self) -> None:
        self._known: dict[str, _Backoff] = {}

    def __contains__(self, address: str) -> bool:
        return address in self._known

    def partition(
        self, envelopes: Iterable[OutgoingEnvelope]
    ) -> tuple[list[OutgoingEnvelope], list[OutgoingEnvelope]]:
        """Divide envelopes into those that may be published now and those that must wait, in this order."""
        now, trying = time.monotonic(), set()
        ready, deferred = [], []
        for envelope in envelopes:
            address = envelope.routing_key
            known = self._known.get(address)
            if known is None or not known.refuses:
                ready.append(envelope)
            elif now < known.until or address in trying:
                deferred.append(envelope)
            else:
                trying.add(address)
                ready.append(envelope)
        return ready, deferred

    def record_refusal(self, address: str, fault: str) -> float:
        """Record that an address refuses; return the seconds until it may be tried again."""
        known = self._known.get(address)
        wait = min(known.wait * 2, self.CAP) if known is not None and known.refuses else self.FIRST
        self._known[address] = _Backoff(fault, wait, time.monotonic() + wait)
        return wait

    def record_accepted(self, addresses: Iterable[str]) -> list[str]:
        """Record accepted envelopes; return the addresses that had refused, whose rows must be released."""
        recovering = [address for address in sorted(set(addresses)) if address in self._known]
        for address in recovering:
            self._known[address].refuses = False
        return recovering

    def forget(self, address: str) -> None:
        """Forget an address whose postponed rows are all released."""
        self._known.pop(address, None)

    def fault(self, address: str) -> str:
        """Why the address refuses."""
        return self._known[address].fault

    @property
    def refusing(self) -> dict[str, str]:
        """The addresses that refuse now, with their faults."""
        return {address: known.fault for address, known in self._known.items() if known.refuses}
