"""Exclude the objects that exist before the first envelope from garbage collection."""

from __future__ import annotations

import gc
from typing import Any

from celery import signals

YOUNG = 50_000
"""The threshold of the youngest generation: an envelope of 400 signals creates tens of thousands of objects,
all short-lived.
"""


def freeze(**_: Any) -> None:
    """Freeze all present objects, which live as long as the process.

    Scanning them costs more than most steps: a third of the CPU of a pool with Django and SQLAlchemy.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)


def connect() -> None:
    """Freeze before the fork, when the worker is ready, and at the start of each child."""
    for moment in (signals.worker_init, signals.worker_process_init, signals.worker_ready):
        moment.connect(freeze, weak=False)
