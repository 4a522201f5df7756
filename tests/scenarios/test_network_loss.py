"""A host loses its network without closing its connections: packets are dropped without notice.

Processes in a network namespace act as the host. URL options shorten the timeouts, as a deployment may.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg2
import pytest

from tests.support.databases import Databases, copies, migrated_templates
from tests.support.db_probe import DatabaseProbe
from tests.support.measured import MEASURED
from tests.support.network import Host, Link
from tests.support.order_factory import WATCHDOG, OrderFactory
from tests.support.polling import eventually
from tests.support.pools import Pool, Pools
from tests.support.postgres import Postgres
from tests.support.processes import Process
from tests.support.proxy import Proxy
from tests.support.rabbitmq import RabbitMQ

DATABASE_OPTIONS = (
    "keepalives_idle=2&keepalives_interval=1&keepalives_count=2&tcp_user_timeout=4000&connect_timeout=2"
)
BROKER_OPTIONS = "heartbeat=4"
NOTICED = 15
"""Seconds within which both sides must notice, with these options."""
FAR = (
    Pool("orders", kind="threads", concurrency=2),
    Pool("inventory", kind="prefork"),
    Pool("payments", kind="solo"),
)
"""The pools on the host, one of each kind."""

LOCK = "SELECT 1 FROM product WHERE sku = 'HAT' FOR UPDATE"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE client_addr = %s::inet"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE client_addr = %s::inet AND wait_event_type = 'Lock'"


@dataclass
class RemoteHost:
    """A host with pools, and its links and servers."""

    to_database: Link
    to_broker: Link
    postgres: Postgres
    databases: Databases
    processes: list[Process]
    here: Pools
    factory: OrderFactory
    probe: DatabaseProbe
    sessions: Callable[[], int]


@pytest.fixture
def remote(rabbitmq: RabbitMQ, vhost: str) -> Iterator[RemoteHost]:
    with Host() as host:
        to_database, to_broker = host.link(), host.link()
        postgres = Postgres(listen_addresses=f"127.0.0.1,{to_database.here}")
        with (postgres.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {to_database.there}/32 scram-sha-256\n")
        postgres.start()
        databases = copies(postgres, migrated_templates(postgres))
        with Proxy(rabbitmq.port, host=to_broker.here) as proxy:
            far = {
                name: url.replace("127.0.0.1", to_database.here) + f"?{DATABASE_OPTIONS}"
                for name, url in databases.env.items()
                if name != "ORDERSAGA_ENV"
            } | {"ORDERSAGA_ENV": "test", "ORDERSAGA_BROKER_URL": f"{proxy.through(vhost)}?{BROKER_OPTIONS}"}
            watchdog = {"ORDERSAGA_WATCHDOG": f"{WATCHDOG.first.total_seconds()}"}
            factory, probe = OrderFactory(databases), DatabaseProbe(databases)
            factory.seed()
            processes = [
                Process(
                    f"far-{pool.name}",
                    host.command(pool.command(f"{pool.name}-9@far")),
                    env={**far, **watchdog},
                )
                for pool in FAR
            ]
            here = Pools({**databases.env, **watchdog, "ORDERSAGA_BROKER_URL": vhost})
            try:
                for process in processes:
                    process.start()
                for pool, process in zip(FAR, processes, strict=True):
                    process.wait_for_log(f"{pool.name}-9@far ready.", 60)

                def sessions() -> int:
                    return int(probe.query("orders", SESSIONS, to_database.there)[0][0])

                yield RemoteHost(
                    to_database, to_broker, postgres, databases, processes, here, factory, probe, sessions
                )
            finally:
                here.teardown()
                for process in processes:
                    process.kill()
        postgres.stop()


def test_orders_settle_after_a_host_loses_its_network(
    remote: RemoteHost, rabbitmq: RabbitMQ, vhost: str, record_property: Callable[[str, object], None]
) -> None:
    """First the link to the database, then the link to the broker, then both while it holds a lock and an
    envelope.
    """
    recovered: dict[str, float] = {}

    def assert_all_confirmed(way: str, began: float | None = None) -> None:
        """Check that all orders are confirmed within a minute."""
        began = began or time.monotonic()
        remote.probe.wait_until_confirmed(sagas, timeout=60)
        recovered[way] = time.monotonic() - began

    name = vhost.rpartition("/")[2]
    sagas = remote.factory.place_many(5)
    remote.probe.wait_until_confirmed(sagas)
    dead_letter_count = len(remote.probe.dead_letters())

    remote.to_database.drop()
    sagas += remote.factory.place_many(5)
    eventually(
        lambda: remote.to_database.connections() == remote.sessions() == 0,
        NOTICED,
        "both sides to detect dead sessions",
    )
    remote.to_database.flow()
    assert_all_confirmed("the way to the database")

    remote.to_broker.drop()
    sagas += remote.factory.place_many(5)
    # An idle relay keeps its connection: TCP notices after 30 s, which no URL option shortens.
    eventually(lambda: remote.to_broker.connections() <= len(FAR), NOTICED, "the dead broker to be detected")
    eventually(
        lambda: not any(q.consumers for q in rabbitmq.queues(name).values()),
        NOTICED,
        "the dead consumers to be detected",
    )
    remote.to_broker.flow()
    assert_all_confirmed("the way to the broker")

    rival = psycopg2.connect(remote.databases.inventory)
    rival.cursor().execute(LOCK)
    sagas.append(remote.factory.place("HAT"))
    eventually(
        lambda: remote.probe.query("inventory", WAITING, remote.to_database.there)[0][0],
        10,
        "the step waits for the lock",
    )
    for link in (remote.to_database, remote.to_broker):
        link.drop()
    # The lost host's transaction has the lock, and no live consumer has its envelope.
    rival.rollback()
    rival.close()
    began = time.monotonic()
    sagas.append(remote.factory.place("HAT"))
    remote.here.start_all("orders", "inventory", "payments", kind="threads", concurrency=2)
    assert_all_confirmed("another host", began)

    for link in (remote.to_database, remote.to_broker):
        link.flow()
    for cluster in remote.here:
        cluster.terminate()
    sagas += remote.factory.place_many(5)
    assert_all_confirmed("the host that came back")
    assert all(process.alive for process in remote.processes), "none was restarted"
    assert len(remote.probe.dead_letters()) == dead_letter_count
    record_property(
        MEASURED, "recovered: " + ", ".join(f"{way} {seconds:.1f} s" for way, seconds in recovered.items())
    )
