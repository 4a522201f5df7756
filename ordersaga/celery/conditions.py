"""Report problems of a pool's children to the parent process, which writes the heartbeat.

The children of a prefork pool share a pipe with their parent. Each report is a line shorter than
``PIPE_BUF``, so that lines of several children do not mix (POSIX, ``write``).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
import time

REPEAT = 10.0
"""Seconds between two reports of the same condition."""
LIFETIME = 60.0
"""Seconds after which a condition expires unless it is reported again: its process may have died."""
LONGEST = 500
"""The longest reported sentence, in characters."""


class Conditions:
    """The conditions of one pool; created before it forks."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)
        self._reported: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()
        self._found: dict[tuple[int, str], tuple[str, float]] = {}
        self._rest = b""

    def report(self, part: str, sentence: str) -> None:
        """Report a problem of a part; an empty sentence ends it. Never blocks, never raises."""
        with self._lock:
            before, at = self._reported.get(part, ("", 0.0))
            if sentence == before and (not sentence or time.monotonic() - at < REPEAT):
                return
            self._reported[part] = sentence, time.monotonic()
        line = json.dumps([os.getpid(), part, sentence[:LONGEST]]) + "\n"
        with contextlib.suppress(OSError):  # without a heartbeat the pipe has no reader and fills up
            os.write(self._write, line.encode())

    def read(self) -> dict[str, str]:
        """The current problems by part. Only one thread of the parent may call this."""
        while select.select([self._read], [], [], 0)[0]:
            *lines, self._rest = (self._rest + os.read(self._read, 65536)).split(b"\n")
            for line in lines:
                pid, part, sentence = json.loads(line)
                self._found[pid, part] = sentence, time.monotonic()
        holds = {key: s for key, (s, at) in self._found.items() if s and time.monotonic() - at < LIFETIME}
        self._found = {key: value for key, value in self._found.items() if key in holds}
        return {part: sentence for (_, part), sentence in sorted(holds.items())}
