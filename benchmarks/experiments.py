"""The experiments: each yields, for one round, the name of a series and a function that measures it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks import measuring, resource_counts
from benchmarks.contestants.registry import BARE, CAREFUL, EMBEDDED, ORDERSAGA, PLAIN, UNWATCHED, Contestant
from benchmarks.environment import Servers
from benchmarks.measuring import Figures
from benchmarks.prefill import PrefilledDatabases
from benchmarks.workload import Workload

Measurements = Iterator[tuple[str, Callable[[], Figures]]]

DRAINED = {"plain": 1_600, "careful": 1_200, "ordersaga": 20_000, "bare": 40_000}
PLACED = {"plain": 1_200, "careful": 800, "ordersaga": 6_000}
PLACED_TOGETHER = {"plain": 1_200, "careful": 800, "ordersaga": 8_000}
"""Orders for each kind of contestant: a run takes some seconds, and less than a minute on a slow machine."""
SECONDS = 8
"""The duration of a run at an even rate."""
WARM = 40
"""The number of first orders left out of latency: they open connections and load code."""
SIZES = (10_000, 100_000, 1_000_000)


@dataclass
class Bench:
    """Servers, and the contestants of the experiments that do not run all.

    :ivar scale: multiplies the numbers of orders; below 1 the figures mean little.
    """

    servers: Servers
    prefilled: PrefilledDatabases
    plain: Contestant = PLAIN[-1]
    careful: Contestant = CAREFUL[-1]
    scale: float = 1.0

    def of(self, orders: int, *, least: int = 40) -> int:
        """Scale a number of orders, rounded to whole transactions for four placers."""
        return max(least, round(orders * self.scale / 80) * 80)

    @property
    def pairs(self) -> list[Contestant]:
        """The faster plain chain and careful Celery of the drains so far, and OrderSaga on both brokers."""
        return [self.plain, self.careful, ORDERSAGA, EMBEDDED]


def drain(bench: Bench) -> Measurements:
    """Orders placed before the pools start."""
    for contestant in (*PLAIN, *CAREFUL, BARE, ORDERSAGA, UNWATCHED, EMBEDDED):
        yield (
            contestant.name,
            partial(
                measuring.drain, contestant, bench.servers, bench.of(DRAINED[contestant.placer], least=400)
            ),
        )


def end_to_end(bench: Bench) -> Measurements:
    """Four processes place orders while the pools work."""
    for at_once, numbers in ((1, PLACED), (20, PLACED_TOGETHER)):
        for contestant in bench.pairs:
            orders = bench.of(numbers[contestant.placer], least=80)
            yield (
                f"{contestant.name}, {at_once} a transaction",
                partial(
                    measuring.end_to_end,
                    contestant,
                    bench.servers,
                    orders,
                    at_once=at_once,
                    skip=min(WARM, orders // 4),
                ),
            )


def latency(bench: Bench) -> Measurements:
    """Orders at an even rate, one in a transaction."""
    for rate in (20, 200):
        for contestant in bench.pairs:
            orders = bench.of(rate * SECONDS, least=80)
            yield (
                f"{contestant.name}, {rate}/s",
                partial(
                    measuring.end_to_end,
                    contestant,
                    bench.servers,
                    orders,
                    placers=1,
                    rate=rate,
                    skip=min(WARM, orders // 4),
                ),
            )


def hot(bench: Bench) -> Measurements:
    """All orders are of one product, against a thousand."""
    for contestant in (bench.plain, ORDERSAGA):
        for products in (1, 1_000):
            name = f"{contestant.name}, {products:,} product{'s' if products > 1 else ''}"
            orders = bench.of(DRAINED[contestant.placer], least=400)
            yield name, partial(measuring.drain, contestant, bench.servers, orders, Workload(products, 1))


def processes(bench: Bench) -> Measurements:
    """One, two and four processes of each pool."""
    drained, placed = (
        bench.of(DRAINED["ordersaga"], least=400),
        bench.of(PLACED_TOGETHER["ordersaga"], least=80),
    )
    for number in (1, 2, 4):
        contestant = ORDERSAGA.of(number)
        name = f"OrderSaga, {number} process{'es' if number > 1 else ''} a pool"
        yield f"{name}, drain", partial(measuring.drain, contestant, bench.servers, drained)
        yield (
            f"{name}, 20 a transaction",
            partial(measuring.end_to_end, contestant, bench.servers, placed, at_once=20),
        )


def growth(bench: Bench) -> Measurements:
    """A drain in databases that hold many settled orders."""
    for size in SIZES:
        behind = max(400, round(size * bench.scale))
        workload, orders = bench.prefilled.workload, bench.of(DRAINED["ordersaga"], least=400)
        yield f"OrderSaga after {behind:,}", partial(
            lambda behind, orders, workload: measuring.drain(
                ORDERSAGA, bench.servers, orders, workload, existing=bench.prefilled.databases(behind)
            ),
            behind, orders, workload,
        )  # fmt: skip


def counts(bench: Bench) -> Measurements:
    """Statements, commits, messages and bytes of an order; one round, because counting is slow."""
    for contestant in (bench.plain, bench.careful, BARE, ORDERSAGA):
        yield (
            f"{contestant.name}, drain",
            partial(resource_counts.drain, contestant, bench.of(DRAINED[contestant.placer] // 2, least=400)),
        )
    for contestant in (bench.plain, bench.careful, ORDERSAGA):
        yield (
            f"{contestant.name}, 20/s",
            partial(resource_counts.alone, contestant, bench.of(20 * SECONDS, least=80)),
        )


@dataclass(frozen=True)
class Experiment:
    """An experiment and its chart, which draws ``figure`` in ``unit``; ``once`` limits it to one round."""

    name: str
    about: str
    run: Callable[[Bench], Measurements]
    figure: str = "orders_per_second"
    unit: str = "orders a second"
    once: bool = False


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment("drain", "Drain of orders placed before the pools start", drain),
        Experiment("end-to-end", "Four placers while the pools work", end_to_end),
        Experiment(
            "latency",
            "From placing to confirmation, at an even rate",
            latency,
            "latency_p50_ms",
            "ms, the median order",
        ),
        Experiment("hot", "One product in all orders, against a thousand", hot),
        Experiment("processes", "One, two and four processes of each pool", processes),
        Experiment("growth", "Drain beside settled orders", growth),
        Experiment(
            "counts", "What an order costs", counts, "statements_per_order", "statements an order", once=True
        ),
    )
}
