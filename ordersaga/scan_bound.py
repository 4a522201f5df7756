"""Bound the due times that a relay scans, so that deleted rows of the outbox cost nothing.

While a snapshot is older than a deletion, PostgreSQL can neither remove the deleted row nor skip its index
entry. All deleted rows lie before a bound that this module derives from earlier scans.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple


class Poll(NamedTuple):
    """The result of one scan; times are seconds since the epoch by the database's clock.

    :ivar first: the due time of the first row; None if no row is due within the relay's longest sleep.
    :ivar at: a time not after the scan's snapshot.
    :ivar clock: the time of the result.
    :ivar oldest: no transaction with a lower id was running.
    :ivar next: no transaction had this id or a higher one.
    """

    first: float | None
    at: float
    clock: float
    oldest: int
    next: int


class ScanBound:
    """A due time before which no row can be waiting.

    A row's due time is read from the clock at its insert, so a transaction without an id at the time of a
    poll cannot insert a row due before it. Once all transactions that had an id have ended, the bound moves
    to the time of the poll. No row is missed, and each deleted row is scanned about twice. Example: the
    bound is at 10.0, and one transaction inserts a row due at 10.1 and commits at 15.0::

        10.5  A poll finds the transaction running; its time (less MARGIN) is the candidate for the bound.
        12.5  The transaction has run for over 2 s (PATIENCE): scans now start 2 s before the clock.
        15.0  The transaction commits. A scan that starts at 13.0 does not find its row.
        15.1  A poll finds that it has ended: record() asks for a scan from 10.0, which finds the row.
        15.2  The row is published, and the next polls move the bound past it.

    A periodic scan of everything finds rows whose due time was set back manually or by a clock change.
    """

    MARGIN = 0.25
    """Seconds that may pass between reading the clock for a row and having a transaction id."""
    PATIENCE = 2.0
    """Seconds after which a transaction counts as long."""
    FULL_SCAN_EVERY = 10.0
    FULL_SCAN_SHARE = 0.02
    """Seconds between two scans of everything, and the largest share of time that they may take."""
    EPSILON = 0.001
    """Seconds: more than a rounding error of a due time."""

    def __init__(self) -> None:
        self._safe = self._bound = 0.0
        self._candidate: tuple[float, int] | None = None
        self._full_scan = True
        self._full_scan_at = 0.0

    @property
    def since(self) -> float:
        """The due time from which the next scan starts."""
        if time.monotonic() >= self._full_scan_at:
            self._full_scan = True
        return 0.0 if self._full_scan else self._bound

    def record(self, poll: Poll) -> bool:
        """Record a scan from :attr:`since`; return True if another, from an earlier time, must follow."""
        first = math.inf if poll.first is None else poll.first - self.EPSILON
        whole = self._full_scan or self._bound <= self._safe
        if self._full_scan:
            self._full_scan = False
            took = max(poll.clock - poll.at, 0.0)
            self._full_scan_at = time.monotonic() + max(self.FULL_SCAN_EVERY, took / self.FULL_SCAN_SHARE)
            self._safe, self._bound = min(self._safe, first), min(self._bound, first)
        if self._candidate is not None:
            moment, awaited = self._candidate
            if poll.oldest >= awaited:
                if not whole:
                    self._bound = self._safe
                    return True
                self._safe = max(self._safe, min(moment, first))
                self._bound, self._candidate = self._safe, None
            elif poll.at - moment > self.PATIENCE:
                self._bound = max(self._bound, min(poll.at - self.PATIENCE, first))
        if self._candidate is None:
            self._candidate = (poll.at - self.MARGIN, poll.next)
        return False
