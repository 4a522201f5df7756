"""The performance targets, as ratios of medians of one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Reports = Mapping[str, Any]
"""Reports by the name of their experiment."""


@dataclass(frozen=True)
class Expectation:
    """A target: the figure that ``of`` reads from the reports lies between ``least`` and ``most``."""

    text: str
    unit: str
    of: Callable[[Reports], float]
    least: float = 0.0
    most: float = float("inf")

    def measure(self, reports: Reports) -> float | None:
        """Return the figure, or None if its reports do not exist."""
        try:
            return self.of(reports)
        except (KeyError, ValueError):
            return None

    def met(self, found: float) -> bool:
        return self.least <= found <= self.most


def figures(reports: Reports, experiment: str, figure: str, begins: str, ends: str = "") -> list[float]:
    """Return the medians of all series whose names begin and end with these texts."""
    series = reports[experiment]["series"].items()
    found = [s["median"][figure] for name, s in series if name.startswith(begins) and name.endswith(ends)]
    return [float(value) for value in found]


def figure_of(reports: Reports, experiment: str, name: str, figure: str = "orders_per_second") -> float:
    """Return the median of one series."""
    return float(reports[experiment]["series"][name]["median"][figure])


def _rate(experiment: str, ours: str, begins: str, ends: str = "") -> Callable[[Reports], float]:
    """Return OrderSaga's orders per second over the best series whose name begins and ends so."""
    return lambda reports: (
        figure_of(reports, experiment, ours)
        / max(figures(reports, experiment, "orders_per_second", begins, ends))
    )


def _best_p50(reports: Reports) -> float:
    theirs = min(figures(reports, "latency", "latency_p50_ms", "plain chain", ", 20/s"))
    return figure_of(reports, "latency", "OrderSaga, 20/s", "latency_p50_ms") / theirs


def _grown(reports: Reports) -> float:
    rates = [found["median"]["orders_per_second"] for found in reports["growth"]["series"].values()]
    return float((1 - rates[-1] / rates[0]) * 100)


def _hot(reports: Reports) -> float:
    return (
        figure_of(reports, "hot", "OrderSaga, 1 product")
        / figure_of(reports, "hot", "OrderSaga, 1,000 products")
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
        lambda reports: figure_of(reports, "end-to-end", f"OrderSaga{ONE}", "latency_p99_ms"),
        most=500,
    ),
    Expectation("p50 at 20 orders a second, against the plain chain: 2 × or less", "×", _best_p50, most=2),
    Expectation("slower after a million orders than after ten thousand: 20 % or less", "%", _grown, -1e9, 20),
    Expectation("one hot product against a thousand: 60 % or more", "%", _hot, 60),
]
