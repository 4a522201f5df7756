"""Saying the same thing once in a while, however often it happens."""

from __future__ import annotations

import time


class LogThrottle:
    """Not for exact counts: two threads may both be let through at once."""

    def __init__(self, every: float = 30.0) -> None:
        """:param every: seconds."""
        self._every = every
        self._said: dict[str, float] = {}

    def due(self, what: str) -> bool:
        """Whether ``what`` has not been said for so long; if so, it now counts as said."""
        now = time.monotonic()
        if now - self._said.get(what, -self._every) < self._every:
            return False
        self._said[what] = now
        return True
