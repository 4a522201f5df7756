"""Bindings as text."""

from __future__ import annotations

from collections.abc import Iterable


def as_text(bindings: Iterable[tuple[str, str]]) -> str:
    """Exchange and key of each, for people."""
    return ", ".join(f"{exchange} → {key or '(everything)'}" for exchange, key in bindings)
