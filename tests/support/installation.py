"""A whole installation that many tests share: databases, broker, pools that may be swapped, and faults on
demand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from tests.support.amqp_client import NEXT_KEY, THIS_KEY, Mail
from tests.support.databases import OWNERS, Databases, copies, drop
from tests.support.db_probe import Books
from tests.support.fault_injection.switches import Switches
from tests.support.janitor import janitor
from tests.support.order_factory import WATCHDOG, Shop
from tests.support.pools import Pool, PoolCluster, Pools
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQ

PLAN = (
    Pool("orders", kind="threads", concurrency=2),
    Pool("inventory", kind="prefork", processes=2),
    Pool("payments", kind="solo"),
    Pool("audit", kind="threads"),
)
"""Every kind of pool, and one with two processes."""
ENVIRONMENT = {
    "ORDERSAGA_PARTICIPANTS": "workers.orders,tests.support.fault_injection.inventory,workers.payments",
    "ORDERSAGA_WATCHDOG": f"{WATCHDOG.first.total_seconds()}",
    "ORDERSAGA_SIGNING_KEYS": f"{THIS_KEY},{NEXT_KEY}",
}


class House:
    """Use as a context manager; every pool reaches its database through a proxy that a test may cut."""

    def __init__(
        self,
        name: str,
        postgres: Postgres,
        templates: Mapping[str, str],
        rabbitmq: RabbitMQ,
        *,
        plan: Sequence[Pool] = PLAN,
        env: Mapping[str, str] | None = None,
        proxied: bool = True,
    ) -> None:
        self.vhost, self.postgres, self.rabbitmq, self.plan, self.proxied = (
            name,
            postgres,
            rabbitmq,
            plan,
            proxied,
        )
        postgres.ensure()
        rabbitmq.ensure()
        self.databases = copies(postgres, dict(templates))
        self.proxies = {owner: Proxy(postgres.port) for owner in OWNERS}
        self.switches = Switches(janitor().folder("switches"))
        self.broker_url = rabbitmq.add_vhost(name)
        self.env = {
            **self._database_env(),
            **self.switches.env,
            **ENVIRONMENT,
            "ORDERSAGA_BROKER_URL": self.broker_url,
            **(env or {}),
        }
        self.pools = Pools(self.env)
        self._absent: set[str] = set()
        self.shop, self.books, self.mail = Shop(self.databases), Books(self.databases), Mail(rabbitmq, name)

    def _database_env(self) -> dict[str, str]:
        if not self.proxied:
            return self.databases.env
        return Databases(
            **{owner: self.proxies[owner].through(getattr(self.databases, owner)) for owner in OWNERS}
        ).env

    def __enter__(self) -> Self:
        for proxy in self.proxies.values():
            proxy.start()
        self.shop.open()
        self.pools.launch(*self.plan)
        return self

    def __exit__(self, *_: object) -> None:
        self.pools.teardown()
        for proxy in self.proxies.values():
            proxy.close()
        self.postgres.ensure()
        drop(self.postgres, self.databases)
        self.rabbitmq.ensure()
        self.rabbitmq.delete_vhost(self.vhost)

    def ensure(self) -> None:
        """As it should stand at a test's beginning, whatever the one before has left."""
        self.postgres.ensure()
        self.rabbitmq.ensure()
        self.switches.clear()
        for proxy in self.proxies.values():
            proxy.accept()
            proxy.flow()
        for pool in self.plan:
            if pool.name not in self._absent:
                self.pools[pool.name].start()

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """A pool is stopped for a while, warmly."""
        self._absent.add(name)
        self.pools[name].terminate(60)
        try:
            yield
        finally:
            self._absent.discard(name)
            self.pools[name].start()

    @contextmanager
    def all_away(self) -> Iterator[None]:
        """All pools are stopped for a while."""
        names = {pool.name for pool in self.plan}
        self._absent |= names
        self.pools.teardown()
        try:
            yield
        finally:
            self._absent -= names
            self.ensure()

    @contextmanager
    def besides(self, name: str, **options: Any) -> Iterator[PoolCluster]:
        """For a while, more processes of the pool ``name``; options as for :meth:`Pools.start`."""
        other = Pools(self.env, after=100)
        try:
            yield other.start(name, **options)
        finally:
            other.teardown()

    @contextmanager
    def instead(self, name: str, **options: Any) -> Iterator[PoolCluster]:
        """For a while, other processes stand in for the pool ``name``."""
        with self.without(name), self.besides(name, **options) as cluster:
            yield cluster
