"""Kills pool processes with -9, one every few seconds."""

from __future__ import annotations

import random
import time

from tests.support.pools import PoolCluster, Pools, PoolWorker

EVERY = 3.0
"""Seconds between two kills."""


class Killer:
    """Kills one process after another with -9, and starts the one before again."""

    def __init__(self, pools: Pools, seed: int = 7, *, every: float = EVERY, of_each: bool = False) -> None:
        """:param of_each: whether a process of every pool is killed at a time, rather than of some pool. None is while no other
        of its pool is ready: on a busy machine kills may follow faster than a process starts, and nothing would ever work.
        """
        self._pools, self._random, self._every, self._of_each = pools, random.Random(seed), every, of_each
        self._due = time.monotonic() + every
        self.kills = 0

    def look(self) -> None:
        """Kill if it is time."""
        if time.monotonic() < self._due:
            return
        self._due += self._every
        self.start_all()
        groups = [_dispensable(cluster) for cluster in self._pools] if self._of_each else [self._pools.workers]
        for group in filter(None, groups):
            self._random.choice(group).kill()
            self.kills += 1

    def start_all(self) -> None:
        for worker in self._pools.workers:
            if not worker.process.alive:
                worker.start()


def _dispensable(cluster: PoolCluster) -> list[PoolWorker]:
    """Those without whom the pool still works."""
    ready = [worker for worker in cluster if worker.container.is_ready]
    return [worker for worker in cluster if ready and ready != [worker]]
