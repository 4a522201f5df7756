"""The garbage collector leaves alone what was there before the first envelope."""

from __future__ import annotations

import gc
from typing import Any

from celery import signals

YOUNG = 50_000
"""Objects made before the youngest are looked through: an envelope of 400 signals makes some tens of
thousands, all of which die with it.
"""


def settle(**_: Any) -> None:
    """Put all that lives now out of the collector's sight: it stays to the end, and looking through it costs
    more than most steps (a third of the CPU of a pool that has Django and SQLAlchemy loaded).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)


def connect() -> None:
    """Settle the worker's process before it forks and once it is ready, and each child when it begins."""
    for moment in (signals.worker_init, signals.worker_process_init, signals.worker_ready):
        moment.connect(settle, weak=False)
