"""A leaky bucket, which distinguishes a stream of events from occasional ones."""

from __future__ import annotations

import time


class LeakyBucket:
    """Drains at ``drains`` units a second; its capacity is twice the level that counts as ``full``."""

    def __init__(self, drains: float, full: float) -> None:
        self._drains, self._full = drains, full
        self._level = self._at = 0.0

    def pour(self, amount: float) -> None:
        """Add ``amount`` now."""
        self._level, self._at = min(self._left() + amount, 2 * self._full), time.monotonic()

    @property
    def full(self) -> bool:
        return self._left() > self._full

    @property
    def empty(self) -> bool:
        return not self._left()

    def _left(self) -> float:
        return max(0.0, self._level - self._drains * (time.monotonic() - self._at))
