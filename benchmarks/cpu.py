"""CPU seconds by kind of process: what a family has used, its ended children included."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import psutil


def used(roots: Iterable[tuple[str, int]]) -> dict[str, float]:
    """User and system seconds since their start, of processes and all their descendants, summed by kind.

    Children that have ended count once their parent has waited for them; PostgreSQL and Celery do.
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
    """What was used meanwhile."""
    return {kind: seconds - before.get(kind, 0.0) for kind, seconds in after.items()}
