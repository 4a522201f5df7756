"""A prefork child that has stopped running is ended by its parent, and its envelope returns to the queue.

A child that was stopped (SIGSTOP, a debugger) or hangs in code that never lets another thread run holds its
envelope and its database's locks without end: no time limit inside the child can act. So a thread of each
child counts in memory that it shares with its parent, and the parent kills a child whose count stands still.
A child that waits for its database counts.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import threading
import time
from contextlib import suppress
from typing import Any, NamedTuple

from billiard import current_process
from celery import bootsteps, signals
from celery.utils.log import get_logger

from ordersaga.log import LogEvent

logger = get_logger(__name__)

EVERY = 3.0
"""Seconds between two counts of a child, and between two looks of its parent."""
SILENT_ROUNDS = 15
"""A child whose count stands still for so many looks is ended. Looks are counted instead of seconds, so that
a parent that was itself stopped for a while ends nobody.
"""
CHILDREN = 1024
"""The largest number of children that are watched."""
SLOT = struct.Struct("=QQ")


class Beat(NamedTuple):
    """What a child last wrote: its process number and how often it has counted."""

    pid: int
    beats: int


class ChildHeartbeats:
    """Shared memory with a slot for each child, made before the fork."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SLOT.size * CHILDREN)
        signals.worker_process_init.connect(self._begin, weak=False)

    def __getitem__(self, index: int) -> Beat:
        return Beat(*SLOT.unpack_from(self._memory, SLOT.size * index))

    def _begin(self, **_: Any) -> None:
        index = getattr(current_process(), "index", None)
        if current_process().name != "MainProcess" and index is not None and index < CHILDREN:
            threading.Thread(target=self._run, args=(index,), name="heartbeat", daemon=True).start()

    def _run(self, index: int) -> None:
        count = 1
        while True:
            SLOT.pack_into(self._memory, SLOT.size * index, os.getpid(), count)
            count += 1
            time.sleep(EVERY)


class EndSilentChildren(bootsteps.StartStopStep):
    """Watches the children from a thread of the worker's main process."""

    requires = {"celery.worker.components:Pool"}

    def __init__(self, worker: Any, **_: Any) -> None:
        self._seen: dict[int, tuple[Beat, int]] = {}

    def include_if(self, worker: Any) -> bool:
        """Only in pools of processes."""
        return bool(getattr(worker.pool_cls, "uses_semaphore", False))

    def start(self, worker: Any) -> None:
        """Begin to watch, until the process ends: a warm stop must not wait for a child that does not run."""
        args = (worker.pool, worker.app.ordersaga.children)
        threading.Thread(target=self._run, args=args, name="children", daemon=True).start()

    def _run(self, pool: Any, beats: ChildHeartbeats) -> None:
        while (children_of := pool._pool) is not None:
            children = {child.index: child.pid for child in list(children_of._pool) if child.index < CHILDREN}
            self._seen = {index: seen for index, seen in self._seen.items() if index in children}
            for index, pid in children.items():
                self._look(pid, index, beats[index])
            time.sleep(EVERY)

    def _look(self, pid: int, index: int, beat: Beat) -> None:
        if beat.pid != pid:  # it has not begun to count
            return
        before, rounds = self._seen.get(index, (None, 0))
        rounds = rounds + 1 if beat == before else 0
        self._seen[index] = (beat, rounds)
        if rounds >= SILENT_ROUNDS:
            sentence = "A child process does not run and is killed; its envelope returns to the queue."
            logger.error(LogEvent("child_killed", sentence, child=pid))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
