"""A leaky bucket: does what comes come in a stream, or only now and then?"""

from __future__ import annotations

import time


class LeakyBucket:
    """What is poured in drains at ``drains`` a second. It holds twice what makes it ``full``, so that a
    stream is soon over.
    """

    def __init__(self, drains: float, full: float) -> None:
        self._drains, self._full = drains, full
        self._level = self._at = 0.0

    def pour(self, amount: float) -> None:
        """Add so much, now."""
        self._level, self._at = min(self._left() + amount, 2 * self._full), time.monotonic()

    @property
    def full(self) -> bool:
        """Whether more than a burst has come of late."""
        return self._left() > self._full

    @property
    def empty(self) -> bool:
        """Whether all has drained."""
        return not self._left()

    def _left(self) -> float:
        return max(0.0, self._level - self._drains * (time.monotonic() - self._at))
