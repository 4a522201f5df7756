"""Kills pool processes with -9, one after another."""

from __future__ import annotations

import random
import time

from tests.support.pools import Pools

EVERY = 3.0
"""Seconds that a killed process stays away, at least."""


class Killer:
    """Kills a process with -9, starts it again, and kills the next when all are ready.

    A kill never follows sooner than a process starts, however slow the machine: else nothing would ever work.
    """

    def __init__(self, pools: Pools, seed: int = 7, *, every: float = EVERY, of_each: bool = False) -> None:
        """:param of_each: whether a process of every pool is killed at a time, rather than of some pool."""
        self._pools, self._random, self._every, self._of_each = pools, random.Random(seed), every, of_each
        self._due = time.monotonic() + every
        self.kills = 0

    def look(self) -> None:
        """Kill if it is time and those killed before are ready again."""
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
        """Look; whether there have been so many kills."""
        self.look()
        return self.kills >= count

    def start_all(self) -> None:
        for worker in self._pools.workers:
            if not worker.process.alive:
                worker.start()
