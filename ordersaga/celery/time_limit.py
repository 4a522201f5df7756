"""A hard time limit for one transaction in a prefork child."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hard(seconds: float) -> Iterator[None]:
    """Kill this process with SIGALRM if the block takes longer, even inside C code that never returns.

    For prefork children only. Celery returns the envelope to the broker, which counts the delivery, and the
    receiver splits the envelope at the third. Waiting for a database outside the block does not count.
    """
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
