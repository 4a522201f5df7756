"""What processes wrote into their logs, line by line."""

from __future__ import annotations

import json
from typing import Any

from tests.support.pools import PoolCluster


def lines_of(cluster: PoolCluster) -> list[dict[str, Any]]:
    """Every line of a pool that writes JSON.

    :raises json.JSONDecodeError: when one is something else.
    """
    return [json.loads(line) for worker in cluster for line in worker.process.logs().splitlines()]


def about(lines: list[dict[str, Any]], saga: str, event: str) -> list[dict[str, Any]]:
    """The lines on one saga that tell one thing."""
    return [line for line in lines if line.get("saga") == saga and line["event"] == event]
