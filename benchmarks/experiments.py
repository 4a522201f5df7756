"""What is measured, part by part; each gives, for one round, its measurements by the name of their series."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks import measuring, resource_counts
from benchmarks.contestants.registry import BARE, CAREFUL, EMBEDDED, ORDERSAGA, PLAIN, UNWATCHED, Contestant
from benchmarks.environment import Servers
from benchmarks.measuring import Figures
from benchmarks.prefill import Grown
from benchmarks.workload import Trade

Measurements = Iterator[tuple[str, Callable[[], Figures]]]

DRAINED = {"plain": 1_600, "careful": 1_200, "ordersaga": 20_000, "bare": 40_000}
PLACED = {"plain": 1_200, "careful": 800, "ordersaga": 6_000}
PLACED_TOGETHER = {"plain": 1_200, "careful": 800, "ordersaga": 8_000}
"""Orders of each kind of contestant, so that each runs for some seconds, and on a slow machine for less than
a minute.
"""
SECONDS = 8
"""How long orders come at an even rate."""
WARM = 40
"""The first orders tell nothing of latency: connections are opened, code is read."""
SIZES = (10_000, 100_000, 1_000_000)


@dataclass
class Bench:
    """Servers, and who is compared where not everybody is.

    :ivar scale: multiplies the numbers of orders; below 1 the figures mean little.
    """

    servers: Servers
    grown: Grown
    plain: Contestant = PLAIN[-1]
    careful: Contestant = CAREFUL[-1]
    scale: float = 1.0

    def of(self, orders: int, *, least: int = 40) -> int:
        """So many, to scale, in whole transactions for four placers."""
        return max(least, round(orders * self.scale / 80) * 80)

    @property
    def pairs(self) -> list[Contestant]:
        """The better plain chain and the better careful Celery of the drain so far, and OrderSaga on both
        kinds of servers.
        """
        return [self.plain, self.careful, ORDERSAGA, EMBEDDED]


def drain(bench: Bench) -> Measurements:
    """Orders placed before the pools start."""
    for who in (*PLAIN, *CAREFUL, BARE, ORDERSAGA, UNWATCHED, EMBEDDED):
        yield who.name, partial(measuring.drain, who, bench.servers, bench.of(DRAINED[who.shop], least=400))


def end_to_end(bench: Bench) -> Measurements:
    """Four placers while the pools work."""
    for at_once, numbers in ((1, PLACED), (20, PLACED_TOGETHER)):
        for who in bench.pairs:
            orders = bench.of(numbers[who.shop], least=80)
            yield (
                f"{who.name}, {at_once} a transaction",
                partial(
                    measuring.end_to_end,
                    who,
                    bench.servers,
                    orders,
                    at_once=at_once,
                    skip=min(WARM, orders // 4),
                ),
            )


def latency(bench: Bench) -> Measurements:
    """Orders at an even rate, one in a transaction."""
    for rate in (20, 200):
        for who in bench.pairs:
            orders = bench.of(rate * SECONDS, least=80)
            yield (
                f"{who.name}, {rate}/s",
                partial(
                    measuring.end_to_end,
                    who,
                    bench.servers,
                    orders,
                    placers=1,
                    rate=rate,
                    skip=min(WARM, orders // 4),
                ),
            )


def hot(bench: Bench) -> Measurements:
    """Everybody wants one product, against a thousand."""
    for who in (bench.plain, ORDERSAGA):
        for products in (1, 1_000):
            name = f"{who.name}, {products:,} product{'s' if products > 1 else ''}"
            orders = bench.of(DRAINED[who.shop], least=400)
            yield name, partial(measuring.drain, who, bench.servers, orders, Trade(products, 1))


def processes(bench: Bench) -> Measurements:
    """One, two and four processes of each pool."""
    drained, placed = (
        bench.of(DRAINED["ordersaga"], least=400),
        bench.of(PLACED_TOGETHER["ordersaga"], least=80),
    )
    for number in (1, 2, 4):
        who = ORDERSAGA.of(number)
        name = f"OrderSaga, {number} process{'es' if number > 1 else ''} a pool"
        yield f"{name}, drain", partial(measuring.drain, who, bench.servers, drained)
        yield (
            f"{name}, 20 a transaction",
            partial(measuring.end_to_end, who, bench.servers, placed, at_once=20),
        )


def growth(bench: Bench) -> Measurements:
    """A drain beside many orders that have settled long ago."""
    for size in SIZES:
        behind = max(400, round(size * bench.scale))
        trade, orders = bench.grown.trade, bench.of(DRAINED["ordersaga"], least=400)
        yield f"OrderSaga after {behind:,}", partial(
            lambda behind, orders, trade: measuring.drain(
                ORDERSAGA, bench.servers, orders, trade, standing=bench.grown.databases(behind)
            ),
            behind, orders, trade,
        )  # fmt: skip


def counts(bench: Bench) -> Measurements:
    """What an order costs in statements, commits, messages and bytes; counted once, as counting slows."""
    for who in (bench.plain, bench.careful, BARE, ORDERSAGA):
        yield (
            f"{who.name}, drain",
            partial(resource_counts.drain, who, bench.of(DRAINED[who.shop] // 2, least=400)),
        )
    for who in (bench.plain, bench.careful, ORDERSAGA):
        yield f"{who.name}, 20/s", partial(resource_counts.alone, who, bench.of(20 * SECONDS, least=80))


@dataclass(frozen=True)
class Part:
    """A part of the bench and how it is shown: ``figure`` is drawn, in ``unit``; ``once`` says that one round
    is enough.
    """

    name: str
    about: str
    run: Callable[[Bench], Measurements]
    figure: str = "orders_per_second"
    unit: str = "orders a second"
    once: bool = False


PARTS = {
    part.name: part
    for part in (
        Part("drain", "Drain of orders placed before the pools start", drain),
        Part("end-to-end", "Four placers while the pools work", end_to_end),
        Part(
            "latency",
            "From placing to confirmation, at an even rate",
            latency,
            "latency_p50_ms",
            "ms, the median order",
        ),
        Part("hot", "One product in all orders, against a thousand", hot),
        Part("processes", "One, two and four processes of each pool", processes),
        Part("growth", "Drain beside settled orders", growth),
        Part(
            "counts", "What an order costs", counts, "statements_per_order", "statements an order", once=True
        ),
    )
}
