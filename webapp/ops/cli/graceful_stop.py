"""Stop a command between two transactions on Ctrl-C."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SLICE = 0.05
"""Seconds between two checks of a wait."""


class StopRequest:
    """A request to stop between two transactions; a signal handler sets ``requested``."""

    def __init__(self) -> None:
        self.requested = False

    def wait_until(self, moment: float) -> bool:
        """Wait until ``time.monotonic()`` reaches ``moment``; return False as soon as a stop is requested."""
        while not self.requested and (left := moment - time.monotonic()) > 0:
            time.sleep(min(left, SLICE))
        return not self.requested


@contextmanager
def catch_interrupt(stop: StopRequest) -> Iterator[None]:
    """Turn the first Ctrl-C into a request to stop; the second one raises KeyboardInterrupt."""

    def request_stop(number: int, frame: Any) -> None:
        if stop.requested:
            signal.default_int_handler(number, frame)
        stop.requested = True

    before = signal.signal(signal.SIGINT, request_stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
