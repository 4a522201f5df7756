"""Measures one contestant: a drain of prefilled orders, or orders placed while the pools work."""

from __future__ import annotations

from typing import Any

from benchmarks import cpu
from benchmarks.contestants.registry import Contestant
from benchmarks.environment import Run, Servers, run_of
from benchmarks.workload import Workload, query_row
from tests.support.databases import Databases

Figures = dict[str, Any]

DEFAULT_WORKLOAD = Workload()
NOW = "SELECT clock_timestamp()"
FIRST_HELD = "SELECT min(at) FROM movement WHERE kind = 'held' AND at >= %s"
FIRST_PLACED = "SELECT min(placed_at) FROM orders_order WHERE placed_at >= %s"
# From an order's insert to its confirmation, in milliseconds; the first orders, which open connections, are
# left out.
LATENCY = """
SELECT percentile_cont(ARRAY[0.5, 0.99])
    WITHIN GROUP (ORDER BY extract(epoch FROM confirmed_at - placed_at) * 1000)
FROM (SELECT confirmed_at, placed_at FROM orders_order WHERE placed_at >= %s ORDER BY id OFFSET %s) AS warm
"""


def drain(
    contestant: Contestant,
    servers: Servers,
    orders: int,
    workload: Workload = DEFAULT_WORKLOAD,
    *,
    existing: Databases | None = None,
) -> Figures:
    """Place all orders before the pools start, 20 in a transaction, and measure from the first reservation to
    the end of the last order.

    :param existing: databases to use as they are, instead of fresh ones.
    """
    with run_of(contestant, servers, workload, existing) as run:
        began = _one(run.databases.orders, NOW)
        run.prefill(orders)
        run.start()
        before = cpu.used(run.process_roots())
        run.wait_until_settled()
        used = cpu.between(before, cpu.used(run.process_roots()))
        seconds = _seconds(run, _one(run.databases.inventory, FIRST_HELD, began))
        run.start_late_workers()
        contestant.check(run.databases, orders)
        return {"orders": orders, "orders_per_second": round(orders / seconds, 1), **_cpu(used, orders)}


def end_to_end(
    contestant: Contestant,
    servers: Servers,
    orders: int,
    *,
    at_once: int = 1,
    placers: int = 4,
    rate: float = 0,
    skip: int = 0,
) -> Figures:
    """Place orders while the pools work, and measure from the first insert to the end of the last order.

    :param rate: orders per second at even intervals; 0 is as fast as possible.
    :param skip: the number of first orders left out of latency.
    """
    with run_of(contestant, servers, DEFAULT_WORKLOAD) as run:
        run.start()
        placing = run.placers(orders, placers=placers, at_once=at_once, rate=rate)
        began = _one(run.databases.orders, NOW)
        before = cpu.used(run.process_roots())
        placing.start()
        placing.wait(600)
        run.wait_until_settled()
        used = {**cpu.between(before, cpu.used(run.process_roots())), "placers": placing.cpu}
        seconds = _seconds(run, _one(run.databases.orders, FIRST_PLACED, began))
        p50, p99 = _one(run.databases.orders, LATENCY, began, skip)
        contestant.check(run.databases, orders)
        return {
            "orders": orders,
            "orders_per_second": round(orders / seconds, 1),
            "latency_p50_ms": round(p50, 1),
            "latency_p99_ms": round(p99, 1),
            **_cpu(used, orders),
        }


def _one(url: str, statement: str, *values: object) -> Any:
    return query_row(url, statement, list(values) or None)[0]


def _seconds(run: Run, first: Any) -> float:
    """Return the seconds from ``first`` to the end of the last order; all databases share one clock."""
    seconds: float = (_one(run.databases.orders, run.contestant.ended) - first).total_seconds()
    return seconds


def _cpu(used: dict[str, float], orders: int) -> Figures:
    each = {kind: round(seconds * 1000 / orders, 4) for kind, seconds in sorted(used.items())}
    return {"cpu_seconds_per_1000_orders": {**each, "all": round(sum(each.values()), 4)}}
