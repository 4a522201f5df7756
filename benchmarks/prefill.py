"""Databases that already hold many settled orders; created once, and used in every round."""

from __future__ import annotations

from benchmarks.environment import Servers
from benchmarks.workload import Workload
from tests.support import bulk_data
from tests.support.databases import Databases, copies
from tests.support.postgres import OWNER


class PrefilledDatabases:
    """Databases by the number of their orders. The orders of each measurement stay in them."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._made: dict[int, Databases] = {}
        self.workload = Workload(bulk_data.SKUS, 2, bulk_data.customers(0))

    def databases(self, orders: int) -> Databases:
        """Return the databases with this many settled orders."""
        if orders not in self._made:
            made = copies(self._servers.postgres, dict(self._servers.templates))
            bulk_data.fill(orders, [self._servers.postgres.url(name, OWNER) for name in made.names])
            with self._servers.postgres.connect() as cursor:
                cursor.execute("CHECKPOINT")  # so that flushing the data is not measured
            self._made[orders] = made
        return self._made[orders]
