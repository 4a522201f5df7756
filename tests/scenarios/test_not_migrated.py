"""Pools that start before their tables or their database exist wait, log it, and recover."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.databases import Databases, copies, drop
from tests.support.db_override import django_at
from tests.support.db_probe import DatabaseProbe
from tests.support.order_factory import OrderFactory
from tests.support.polling import eventually
from tests.support.pools import Pool, Pools
from tests.support.postgres import Postgres
from tests.support.processes import ROOT
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled
from webapp.orders.models import Product

WAITS = "waits for its database: its tables are missing; create them with: manage.py migrate"
PLAN = (
    Pool("orders", kind="threads"), Pool("inventory", kind="prefork"), Pool("payments", kind="solo"),
    Pool("audit", kind="threads"),
)  # fmt: skip


@contextmanager
def create_unmigrated_databases(postgres: Postgres, templates: dict[str, str]) -> Iterator[Databases]:
    """Create orders' database migrated, inventory's empty, and payments' not at all."""
    postgres.ensure()
    made = copies(postgres, templates)
    empty, missing = (getattr(made, owner).rpartition("/")[2] for owner in ("inventory", "payments"))
    postgres.drop_databases(empty, missing)
    postgres.create_database(empty, "inventory")
    yield made
    postgres.ensure()
    drop(postgres, made)


def test_pools_started_before_the_tables_wait_and_recover(
    postgres: Postgres, database_templates: dict[str, str], rabbitmq: RabbitMQ, vhost: str
) -> None:
    name = vhost.rpartition("/")[2]
    with create_unmigrated_databases(postgres, database_templates) as databases:
        env = {**databases.env, "ORDERSAGA_BROKER_URL": vhost}
        pools, probe = Pools(env), DatabaseProbe(databases)
        try:
            pools.launch(*PLAN)
            with django_at(databases.orders):
                Product.objects.create(sku="TEA", name="Tea", price=450, currency="EUR")
            saga = OrderFactory(databases).place("TEA")

            [inventory], [payments] = pools["inventory"], pools["payments"]
            inventory.process.wait_for_log(f"inventory {WAITS}")
            inventory.process.wait_for_log(f"The relay {WAITS}")
            payments.process.wait_for_log("does not exist")
            eventually(lambda: rabbitmq.unsettled(name)["inventory"] == 1, 10, "the message is kept")

            pools["inventory"].terminate(timeout=30)
            assert inventory.process.returncode == 0
            eventually(lambda: rabbitmq.unsettled(name)["inventory"] == 1, 10, "it went back to the queue")
            pools["inventory"].start()
            inventory.process.wait_for_log(f"inventory {WAITS}")

            postgres.create_database(databases.payments.rpartition("/")[2], "payments")
            migrate(databases)

            # No stock was ever received, so the order ends as out of stock, and payments has answered too.
            assert probe.wait_for_status(saga, "ROLLED_BACK", timeout=60).refusal == "OutOfStock"
            assert probe.dead_letters() == []
            assert not any(
                probe.participant_dead_letters(owner, saga) for owner in ("orders", "inventory", "payments")
            )
            probe.wait_until_clean()
        finally:
            pools.teardown()


def migrate(databases: Databases) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v0"],
        cwd=ROOT,
        env={**os.environ, **databases.env},
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
    )
    assert done.returncode == 0, done.stdout + done.stderr
