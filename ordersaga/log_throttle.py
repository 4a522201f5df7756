"""Limit how often the same message is logged."""

from __future__ import annotations

import time


class LogThrottle:
    """Lets each message pass at most once per interval. Two threads may both pass."""

    def __init__(self, every: float = 30.0) -> None:
        """:param every: seconds."""
        self._every = every
        self._logged_at: dict[str, float] = {}

    def due(self, message: str) -> bool:
        """Whether ``message`` may be logged now; if so, its interval starts."""
        now = time.monotonic()
        if now - self._logged_at.get(message, -self._every) < self._every:
            return False
        self._logged_at[message] = now
        return True
