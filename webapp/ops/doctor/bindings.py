"""What a queue must be bound to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def bindings_of(queue: Any) -> set[tuple[str, str]]:
    """Exchange and key of each binding that a kombu queue declares."""
    bound = {(b.exchange.name, b.routing_key or "") for b in queue.bindings}
    if queue.exchange is not None and queue.exchange.name:
        bound.add((queue.exchange.name, queue.routing_key or ""))
    return bound


def as_text(bindings: Iterable[tuple[str, str]]) -> str:
    """For people."""
    return ", ".join(f"{exchange} → {key or '(everything)'}" for exchange, key in bindings)
