"""Following orders until they have settled."""

from __future__ import annotations

import time

from rich.progress import Progress

from webapp.ops.cli.graceful_stop import Stop
from webapp.ops.loadgen.stats import Tally

TIMEOUT = 120.0
"""Seconds that ``--wait`` waits unless told otherwise."""
POLL = 0.25


class Following:
    """A bar that fills as the orders whose keys begin with ``key`` settle."""

    def __init__(self, key: str, bars: Progress, count: int, stop: Stop) -> None:
        """:param count: how many there will be."""
        self._key, self._bars, self._stop = key, bars, stop
        self._bar = bars.add_task("settled", total=count)
        self._tally: Tally | None = None
        self._looked = 0.0

    def glance(self, first: int | None, placed: int) -> None:
        """Count them, unless that was done a moment ago.

        :param first: the lowest order number among them, once there is one.
        """
        if time.monotonic() - self._looked > 2 * POLL:
            self._count(first, placed)

    def wait(self, first: int | None, placed: int, seconds: float) -> None:
        """Until all have settled, for so many seconds at most, or until it is to stop."""
        deadline = time.monotonic() + seconds
        self._bars.update(self._bar, total=placed)
        while placed and self._count(first, placed) and time.monotonic() < deadline:
            took = time.monotonic() - self._looked
            if not self._stop.wait_until(min(deadline, time.monotonic() + max(POLL, took))):
                return

    def _count(self, first: int | None, placed: int) -> int:
        """How many are open."""
        if self._tally is None and first is not None:
            self._tally = Tally(self._key, first)
        self._looked = time.monotonic()
        left = self._tally.open() if self._tally else 0
        self._bars.update(self._bar, completed=placed - left)
        return left
