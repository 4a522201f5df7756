"""Parses the JSON log lines of pools."""

from __future__ import annotations

import json
from typing import Any

from tests.support.pools import PoolCluster


def read_lines(cluster: PoolCluster) -> list[dict[str, Any]]:
    """:raises json.JSONDecodeError: if a line is not JSON."""
    return [json.loads(line) for worker in cluster for line in worker.process.logs().splitlines()]


def select(lines: list[dict[str, Any]], saga: str, event: str) -> list[dict[str, Any]]:
    """Return the lines of one saga with one event code."""
    return [line for line in lines if line.get("saga") == saga and line["event"] == event]
