"""Ctrl-C as a wish, heard where nothing is half done."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SLICE = 0.05
"""Seconds after which a wait looks up."""


class StopRequest:
    """The wish to stop, heard between two transactions: nothing is left half done. Set it from a signal's
    handler.
    """

    def __init__(self) -> None:
        self.requested = False

    def wait_until(self, moment: float) -> bool:
        """Until ``time.monotonic()`` is there; False when it is to stop instead."""
        while not self.requested and (left := moment - time.monotonic()) > 0:
            time.sleep(min(left, SLICE))
        return not self.requested


@contextmanager
def catch_interrupt(stop: StopRequest) -> Iterator[None]:
    """Let the first Ctrl-C be a wish, heard between two transactions; the second one ends at once."""

    def wish(number: int, frame: Any) -> None:
        if stop.requested:
            signal.default_int_handler(number, frame)
        stop.requested = True

    before = signal.signal(signal.SIGINT, wish)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
