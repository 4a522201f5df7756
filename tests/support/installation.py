"""An installation that many tests share: databases, a virtual host, pools and injected faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from tests.support.amqp_client import NEXT_KEY, THIS_KEY, AmqpClient
from tests.support.databases import OWNERS, Databases, copies, drop
from tests.support.db_probe import DatabaseProbe
from tests.support.fault_injection.switches import FaultSwitches
from tests.support.janitor import janitor
from tests.support.order_factory import WATCHDOG, OrderFactory
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
"""Each kind of Celery pool, and one participant with two processes."""
ENVIRONMENT = {
    "ORDERSAGA_PARTICIPANTS": "workers.orders,tests.support.fault_injection.inventory,workers.payments",
    "ORDERSAGA_WATCHDOG": f"{WATCHDOG.first.total_seconds()}",
    "ORDERSAGA_SIGNING_KEYS": f"{THIS_KEY},{NEXT_KEY}",
}


class Installation:
    """A context manager. With ``proxied``, each pool's database is behind a proxy that tests may cut."""

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
        self.vhost, self.postgres, self.rabbitmq = name, postgres, rabbitmq
        self.plan, self.proxied = plan, proxied
        postgres.ensure()
        rabbitmq.ensure()
        self.databases = copies(postgres, dict(templates))
        self.proxies = {owner: Proxy(postgres.port) for owner in OWNERS}
        self.switches = FaultSwitches(janitor().folder("switches"))
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
        self.factory, self.probe = OrderFactory(self.databases), DatabaseProbe(self.databases)
        self.amqp = AmqpClient(rabbitmq, name)

    def _database_env(self) -> dict[str, str]:
        if not self.proxied:
            return self.databases.env
        return Databases(
            **{owner: self.proxies[owner].through(getattr(self.databases, owner)) for owner in OWNERS}
        ).env

    def __enter__(self) -> Self:
        for proxy in self.proxies.values():
            proxy.start()
        self.factory.seed()
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
        """Restart what a test stopped, and clear its faults."""
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
        """Stop a pool by a warm shutdown; start it again at the end."""
        self._absent.add(name)
        self.pools[name].terminate(60)
        try:
            yield
        finally:
            self._absent.discard(name)
            self.pools[name].start()

    @contextmanager
    def without_pools(self) -> Iterator[None]:
        """Stop all pools; start them again at the end."""
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
        """Add processes to the pool ``name``; options as for :meth:`Pools.start`."""
        other = Pools(self.env, after=100)
        try:
            yield other.start(name, **options)
        finally:
            other.teardown()

    @contextmanager
    def instead(self, name: str, **options: Any) -> Iterator[PoolCluster]:
        """Replace the processes of the pool ``name``; options as for :meth:`Pools.start`."""
        with self.without(name), self.besides(name, **options) as cluster:
            yield cluster
