"""One demo a clone at a time. The lock goes with its last holder, however that ends: the demo, or
its warden.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import psutil

from webapp.ops.demo.output import DemoFailed
from webapp.ops.demo.paths import Places

PATIENCE = 60.0
"""Seconds granted to the warden of a killed demo."""


class Lock:
    """The lock while it is held; the file says whose it is."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def fileno(self) -> int:
        """To hand the lock on to the warden, too."""
        return self._file.fileno()

    def tell(self, **known: Any) -> None:
        """Note what another demo should be able to say about this one."""
        whose = {"pid": os.getpid(), "since": psutil.Process().create_time(), **known}
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(whose))
        self._file.flush()


@contextmanager
def held(places: Places) -> Iterator[Lock]:
    """:raises DemoFailed: when another demo of this clone runs."""
    with places.lock.open("a+") as file:
        deadline = time.monotonic() + PATIENCE
        while not _taken(file):
            other = _other(file)
            if other is not None:
                page = f" Its pages: {other['page']}." if other.get("page") else ""
                raise DemoFailed(
                    f"The demo of this clone is already running, as process {other['pid']}.{page}",
                    "End it with Ctrl-C where it was started, or run the demo in another clone.",
                )
            if time.monotonic() > deadline:
                raise DemoFailed(
                    "The last demo is still being put away.", f"Wait, or see who holds {places.lock}."
                )
            time.sleep(0.1)
        lock = Lock(file)
        lock.tell()
        yield lock


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _other(file: IO[str]) -> dict[str, Any] | None:
    """The demo that holds the lock, if it still lives; its warden may have outlived it."""
    file.seek(0)
    try:
        known: dict[str, Any] = json.loads(file.read())
        process = psutil.Process(known["pid"])
        same = abs(process.create_time() - known["since"]) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except (ValueError, KeyError, psutil.Error):
        return None
    return known if same else None
