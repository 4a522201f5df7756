"""The goods and customers of the demonstration: the same names and prices on every machine."""

from __future__ import annotations

CURRENCY = "EUR"
SCARCE = 3
"""How many articles the shop lists and never has."""
TROUBLED = 10
"""How many customers of each kind that is declined: poor, blocked, limited."""
LIMIT = 100
"""The most a limited customer may spend on one order, in minor units: less than any article costs."""


def skus(count: int) -> list[str]:
    """``SKU-0001`` and on: articles in stock."""
    return [f"SKU-{number:04}" for number in range(1, count + 1)]


def scarce_skus() -> list[str]:
    """``SCARCE-0001`` and on: articles that are out of stock."""
    return [f"SCARCE-{number:04}" for number in range(1, SCARCE + 1)]


def price(sku: str) -> int:
    """Of one, in minor units: between 1.99 and 99.99."""
    return 199 + int(sku.rpartition("-")[2]) * 3137 % 9801


def customers(kind: str, count: int = TROUBLED) -> list[str]:
    """``customer-0001`` and on, or another kind: ``poor``, ``blocked``, ``limited``."""
    return [f"{kind}-{number:04}" for number in range(1, count + 1)]
