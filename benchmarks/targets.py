"""What is expected at this stage, as ratios of medians of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Parts = Mapping[str, Any]
"""Reports by the name of their part."""


@dataclass(frozen=True)
class Expectation:
    """``least`` or ``most`` of what ``of`` finds in the reports; None where they do not tell."""

    text: str
    unit: str
    of: Callable[[Parts], float]
    least: float = 0.0
    most: float = float("inf")

    def measure(self, parts: Parts) -> float | None:
        """The figure, if its parts have been measured."""
        try:
            return self.of(parts)
        except (KeyError, ValueError):
            return None

    def met(self, found: float) -> bool:
        """Whether it is as expected."""
        return self.least <= found <= self.most


def figures(parts: Parts, part: str, figure: str, begins: str, ends: str = "") -> list[float]:
    """The medians of all series whose names begin and end so."""
    series = parts[part]["series"].items()
    found = [s["median"][figure] for name, s in series if name.startswith(begins) and name.endswith(ends)]
    return [float(value) for value in found]


def figure_of(parts: Parts, part: str, name: str, figure: str = "orders_per_second") -> float:
    """The median of one series."""
    return float(parts[part]["series"][name]["median"][figure])


def _rate(part: str, ours: str, begins: str, ends: str = "") -> Callable[[Parts], float]:
    """OrderSaga's orders a second over the best of those whose names begin and end so."""
    return lambda parts: (
        figure_of(parts, part, ours) / max(figures(parts, part, "orders_per_second", begins, ends))
    )


def _best_p50(parts: Parts) -> float:
    theirs = min(figures(parts, "latency", "latency_p50_ms", "plain chain", ", 20/s"))
    return figure_of(parts, "latency", "OrderSaga, 20/s", "latency_p50_ms") / theirs


def _grown(parts: Parts) -> float:
    rates = [found["median"]["orders_per_second"] for found in parts["growth"]["series"].values()]
    return float((1 - rates[-1] / rates[0]) * 100)


def _hot(parts: Parts) -> float:
    return (
        figure_of(parts, "hot", "OrderSaga, 1 product")
        / figure_of(parts, "hot", "OrderSaga, 1,000 products")
        * 100
    )


ONE = ", 1 a transaction"
EXPECTATIONS = [
    Expectation(
        "drain against the best plain chain: 20 × or more",
        "×",
        _rate("drain", "OrderSaga", "plain chain"),
        20,
    ),
    Expectation("drain against the best careful Celery", "×", _rate("drain", "OrderSaga", "careful Celery")),
    Expectation("drain against the bare loop", "×", _rate("drain", "OrderSaga", "bare loop")),
    Expectation(
        "end to end, one order a transaction, against the plain chain: 5 × or more",
        "×",
        _rate("end-to-end", f"OrderSaga{ONE}", "plain chain", ONE),
        5,
    ),
    Expectation(
        "end to end, twenty a transaction, against the plain chain: 5 × or more",
        "×",
        _rate("end-to-end", "OrderSaga, 20 a transaction", "plain chain", ", 20 a transaction"),
        5,
    ),
    Expectation(
        "p99 while loaded, one order a transaction: under 500 ms",
        "ms",
        lambda parts: figure_of(parts, "end-to-end", f"OrderSaga{ONE}", "latency_p99_ms"),
        most=500,
    ),
    Expectation("p50 at 20 orders a second, against the plain chain: 2 × or less", "×", _best_p50, most=2),
    Expectation("slower after a million orders than after ten thousand: 20 % or less", "%", _grown, -1e9, 20),
    Expectation("one hot product against a thousand: 60 % or more", "%", _hot, 60),
]
