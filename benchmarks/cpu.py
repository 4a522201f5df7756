"""Measures CPU seconds by kind of process, including descendants that have ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import psutil


def used(roots: Iterable[tuple[str, int]]) -> dict[str, float]:
    """Return the user and system seconds of processes and all their descendants since they started, by kind.

    An ended child counts once its parent has waited for it, as PostgreSQL and Celery do.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    for kind, pid in roots:
        try:
            root = psutil.Process(pid)
            family = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
        for member in family:
            try:
                times = member.cpu_times()
            except psutil.NoSuchProcess:
                continue
            seconds[kind] += times.user + times.system + times.children_user + times.children_system
    return dict(seconds)


def between(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {kind: seconds - before.get(kind, 0.0) for kind, seconds in after.items()}
