"""From which due time on a relay has to scan the outbox, so that a scan costs the same however many deleted
rows are kept.

While any snapshot is older than a deletion, PostgreSQL can neither remove the deleted row nor skip its index
entry. Deleted rows all lie before a bound that this module derives from what earlier scans found.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple


class Look(NamedTuple):
    """What one scan of the outbox saw; times are seconds since the epoch by the database's clock.

    :ivar first: when the first row found is due; None: no row is due, nor will be within the scan's horizon.
    :ivar at: a moment not after the scan's snapshot.
    :ivar clock: the moment of the answer.
    :ivar oldest: no transaction below this id was running.
    :ivar next: no transaction had this id or a later one yet.
    """

    first: float | None
    at: float
    clock: float
    oldest: int
    next: int


class ScanBound:
    """A due time before which no row can be waiting.

    A row's due time is read from the clock when it is inserted, so a transaction that had no id yet at a look
    cannot insert a row due before that look. Once all transactions that had one are over, a scan from the old
    bound shows what they have left, and the bound moves up to the look. While one of them goes on for longer
    than :attr:`PATIENCE` the scans follow the clock at that distance, and the scan from the old bound is made
    when it ends. So no row is missed, and each deleted row is passed over about twice.

    Rows whose due time was set back by hand, or by a clock set back, are found by a scan of everything now
    and then.
    """

    MARGIN = 0.25
    """Seconds that may pass between reading the clock for a row and having a transaction id."""
    PATIENCE = 2.0
    """Seconds after which a transaction counts as a long one."""
    EVERYTHING_EVERY = 10.0
    EVERYTHING_SHARE = 0.02
    """Seconds between two scans of everything, and the share of the time that these may take at most."""
    BEFORE = 0.001
    """Seconds: less than between two rows that matter, more than a rounding error."""

    def __init__(self) -> None:
        self._safe = self._bound = 0.0
        self._candidate: tuple[float, int] | None = None
        self._everything = True
        self._everything_at = 0.0

    @property
    def since(self) -> float:
        """The due time from which the next scan starts."""
        if time.monotonic() >= self._everything_at:
            self._everything = True
        return 0.0 if self._everything else self._bound

    def seen(self, look: Look) -> bool:
        """Note what a scan from :attr:`since` found; True when another must follow, from further back."""
        first = math.inf if look.first is None else look.first - self.BEFORE
        whole = self._everything or self._bound <= self._safe
        if self._everything:
            self._everything = False
            took = max(look.clock - look.at, 0.0)
            self._everything_at = time.monotonic() + max(self.EVERYTHING_EVERY, took / self.EVERYTHING_SHARE)
            self._safe, self._bound = min(self._safe, first), min(self._bound, first)
        if self._candidate is not None:
            moment, awaited = self._candidate
            if look.oldest >= awaited:
                if not whole:
                    self._bound = self._safe
                    return True
                self._safe = max(self._safe, min(moment, first))
                self._bound, self._candidate = self._safe, None
            elif look.at - moment > self.PATIENCE:
                self._bound = max(self._bound, min(look.at - self.PATIENCE, first))
        if self._candidate is None:
            self._candidate = (look.at - self.MARGIN, look.next)
        return False
