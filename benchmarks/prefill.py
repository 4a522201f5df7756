"""Databases in which many orders have settled already; filled once, used as they are in each round."""

from __future__ import annotations

from benchmarks.environment import Servers
from benchmarks.workload import Trade
from tests.support import bulk_data
from tests.support.databases import Databases, copies
from tests.support.postgres import OWNER


class Grown:
    """Books by their size. The orders of each measurement stay in them: a few more behind the next."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._made: dict[int, Databases] = {}
        self.trade = Trade(bulk_data.SKUS, 2, bulk_data.customers(0))

    def databases(self, orders: int) -> Databases:
        """Those with so many orders behind them."""
        if orders not in self._made:
            made = copies(self._servers.postgres, dict(self._servers.templates))
            bulk_data.fill(orders, [self._servers.postgres.url(name, OWNER) for name in made.names])
            with self._servers.postgres.connect() as cursor:
                cursor.execute(
                    "CHECKPOINT"
                )  # what filled the books is on the disk before anything is measured beside it
            self._made[orders] = made
        return self._made[orders]
