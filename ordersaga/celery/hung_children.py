"""Kill a prefork child that does not run, so that its envelope returns to the queue.

A child that was stopped (SIGSTOP, a debugger), or hangs in code that never releases the GIL, would hold its
envelope and its locks without end, and no time limit inside the child can act. A thread of each child
increments a counter in shared memory, and the parent kills a child whose counter does not change. A child
that waits for its database counts on.
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
"""Seconds between two increments of a child, and between two checks of its parent."""
SILENT_ROUNDS = 15
"""The number of checks with an unchanged counter after which a child is killed. Checks are counted instead of
seconds, so that a parent that was stopped itself kills no child.
"""
CHILDREN = 1024
"""The largest number of watched children."""
SLOT = struct.Struct("=QQ")


class Beat(NamedTuple):
    """A child's process id and counter."""

    pid: int
    beats: int


class ChildHeartbeats:
    """Shared memory with a slot for each child, created before the fork."""

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
        """Whether this is a pool of processes."""
        return bool(getattr(worker.pool_cls, "uses_semaphore", False))

    def start(self, worker: Any) -> None:
        """Watch until the process ends, because a warm shutdown must not wait for a child that hangs."""
        args = (worker.pool, worker.app.ordersaga.children)
        threading.Thread(target=self._run, args=args, name="children", daemon=True).start()

    def _run(self, pool: Any, beats: ChildHeartbeats) -> None:
        while (children_of := pool._pool) is not None:
            children = {child.index: child.pid for child in list(children_of._pool) if child.index < CHILDREN}
            self._seen = {index: seen for index, seen in self._seen.items() if index in children}
            for index, pid in children.items():
                self._check(pid, index, beats[index])
            time.sleep(EVERY)

    def _check(self, pid: int, index: int, beat: Beat) -> None:
        if beat.pid != pid:  # the child has not begun to count
            return
        before, rounds = self._seen.get(index, (None, 0))
        rounds = rounds + 1 if beat == before else 0
        self._seen[index] = (beat, rounds)
        if rounds >= SILENT_ROUNDS:
            sentence = "A child process does not run and is killed; its envelope returns to the queue."
            logger.error(LogEvent("child_killed", sentence, child=pid))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
