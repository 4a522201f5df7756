"""Which addresses' queues refuse envelopes, and when one envelope may try again."""

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


class AddressBackoff:
    """The addresses that one relay has found refusing.

    A topic may be bound to several queues of which one refuses, and publishing again duplicates the message
    in the others. So an address that refuses is tried with one envelope at a time, at growing intervals. Once
    one is taken, what was put off is released a claim at a time, so that a queue with little room is not
    flooded.
    """

    FIRST, CAP = 1.0, 30.0
    """Seconds between tries: the first interval, which doubles, and the longest."""
    PARKED = 300.0
    """Seconds for which the rows that do not try are put off. Then they come due by themselves, should this
    relay have died.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Backoff] = {}

    def __contains__(self, address: str) -> bool:
        return address in self._known

    def sort(
        self, envelopes: Iterable[OutgoingEnvelope]
    ) -> tuple[list[OutgoingEnvelope], list[OutgoingEnvelope]]:
        """Those that may be published now, and those that have to wait."""
        now, trying = time.monotonic(), set()
        go, wait = [], []
        for envelope in envelopes:
            address = envelope.routing_key
            known = self._known.get(address)
            if known is None or not known.refuses:
                go.append(envelope)
            elif now < known.until or address in trying:
                wait.append(envelope)
            else:
                trying.add(address)
                go.append(envelope)
        return go, wait

    def refused(self, address: str, fault: str) -> float:
        """Note that the address refuses; gives the seconds until it may be tried again."""
        known = self._known.get(address)
        wait = min(known.wait * 2, self.CAP) if known is not None and known.refuses else self.FIRST
        self._known[address] = _Backoff(fault, wait, time.monotonic() + wait)
        return wait

    def taken(self, addresses: Iterable[str]) -> list[str]:
        """Note that envelopes were taken; gives those of the addresses that had refused, whose rows are to be
        released.
        """
        recovering = [address for address in sorted(set(addresses)) if address in self._known]
        for address in recovering:
            self._known[address].refuses = False
        return recovering

    def recovered(self, address: str) -> None:
        """Nothing is left to be released."""
        self._known.pop(address, None)

    def fault(self, address: str) -> str:
        """Why the address refuses."""
        return self._known[address].fault

    @property
    def refusing(self) -> dict[str, str]:
        """The addresses that refuse now, and why."""
        return {address: known.fault for address, known in self._known.items() if known.refuses}
