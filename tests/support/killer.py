"""Kills pool processes with -9, one every few seconds."""

from __future__ import annotations

import random
import time

from tests.support.pools import Pools

EVERY = 3.0
"""Seconds between two kills."""


class Killer:
    """Kills one process after another with -9, and starts the one before again."""

    def __init__(self, pools: Pools, seed: int = 7, *, every: float = EVERY, of_each: bool = False) -> None:
        """:param of_each: whether a process of every pool is killed at a time, rather than of some pool."""
        self._pools, self._random, self._every, self._of_each = pools, random.Random(seed), every, of_each
        self._due = time.monotonic() + every
        self.kills = 0

    def look(self) -> None:
        """Kill if it is time."""
        if time.monotonic() < self._due:
            return
        self._due += self._every
        self.start_all()
        groups = [list(cluster) for cluster in self._pools] if self._of_each else [self._pools.workers]
        for group in groups:
            self._random.choice(group).kill()
            self.kills += 1

    def start_all(self) -> None:
        for worker in self._pools.workers:
            if not worker.process.alive:
                worker.start()
