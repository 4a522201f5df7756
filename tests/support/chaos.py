"""Kills random pool processes with SIGKILL, and starts them again."""

from __future__ import annotations

import random
import time

from tests.support.pools import Pools

EVERY = 3.0
"""Seconds from one kill to the next, at least."""


class ProcessKiller:
    """Waits for all processes to be ready before each kill, so that a slow machine still makes progress."""

    def __init__(self, pools: Pools, seed: int = 7, *, every: float = EVERY, of_each: bool = False) -> None:
        """:param of_each: kill one process of every pool at a time, instead of one in all."""
        self._pools, self._random, self._every, self._of_each = pools, random.Random(seed), every, of_each
        self._due = time.monotonic() + every
        self.kills = 0

    def kill_when_due(self) -> None:
        """Start the killed processes once the time has passed; kill again when all are ready."""
        if time.monotonic() < self._due:
            return
        self.start_all()
        if not all(worker.container.is_ready for worker in self._pools.workers):
            return
        for group in [list(cluster) for cluster in self._pools] if self._of_each else [self._pools.workers]:
            self._random.choice(group).kill()
            self.kills += 1
        self._due = time.monotonic() + self._every

    def has_killed(self, count: int) -> bool:
        """Kill when due; return whether there have been ``count`` kills."""
        self.kill_when_due()
        return self.kills >= count

    def start_all(self) -> None:
        for worker in self._pools.workers:
            if not worker.process.alive:
                worker.start()
