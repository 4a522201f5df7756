"""A hard time limit for one transaction, where the pool can give it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hard(seconds: float) -> Iterator[None]:
    """End this process if the block takes longer, even inside C code that never returns.

    For prefork children only (the alarm belongs to the process): Celery gives the envelope back to the
    broker, which counts the delivery, so that the receiver takes it apart at the third. Waiting for a
    database outside the block costs no time.
    """
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
