"""``manage.py reconcile`` while the audit trail is behind: pending events are lag, lost events are
violations.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from ordersaga.celery.topology import declare
from tests.support import db_probe
from tests.support.databases import OWNERS, Databases
from tests.support.order_factory import OrderFactory
from tests.support.polling import eventually
from tests.support.pools import Pools
from tests.support.postgres import Postgres
from tests.support.processes import ROOT
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled
from tests.webapp.corruptions import STRANGER
from tests.webapp.reconcile_samples import (
    DELETE_COMPLETION,
    INSERT_COMPLETION,
    CorruptibleDatabases,
    RecordedWaits,
    corruptible,
    samples,
)
from webapp.ops import broker
from webapp.ops.reconcile import audit_queue
from webapp.ops.reconcile.audit_lag import AuditQueue, QueueUnknown
from webapp.ops.reconcile.codes import Lag
from workers.choreography import choreography

__all__ = ["corruptible", "samples"]

OWED = (
    "INSERT INTO ordersaga_outbox (participant, kind, topic, recipient, signals, payload, created_at, due_at)"
    " VALUES ('orders', '{kind}', 'notice', {recipient}, 1, '{payload}',"
    " now() - interval '1 h', now() + interval '1 h')"
)
IN_A_PACK = (
    "INSERT INTO ordersaga_pack VALUES (-1, 'signal.Thing', '{payload}');"
    "INSERT INTO ordersaga_outbox (participant, topic, signals, pack_id, due_at)"
    " VALUES ('orders', 'signal.Thing', 1, -1, now() + interval '1 h')"
)


def insert_outbox_row(
    corruptible: CorruptibleDatabases,
    database: str,
    saga: str,
    *,
    kind: str = "said",
    recipient: str = "NULL",
    sql: str = OWED,
) -> None:
    payload = json.dumps({"participant": "orders", "signals": [[STRANGER, STRANGER], [STRANGER, saga]]})
    corruptible.corrupt(database, sql.format(kind=kind, recipient=recipient, payload=payload))


# -- the outboxes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("database", OWNERS)
@pytest.mark.parametrize("recipient", ["NULL", "'all-observers'"], ids=["not published", "owed to observers"])
def test_rows_in_an_outbox_are_lag_with_their_age(
    database: str, recipient: str, corruptible: CorruptibleDatabases
) -> None:
    order = corruptible.orders["confirmed"]
    corruptible.corrupt("orders", DELETE_COMPLETION, order)
    insert_outbox_row(corruptible, database, order.saga, recipient=recipient)
    waits = RecordedWaits()
    report = corruptible.audit(grace=60, wait=waits)
    assert report.clean
    assert report.lag is not None
    assert report.lag[:3] == (1, 1, None)
    assert report.lag.oldest == pytest.approx(3600, abs=1)
    assert not waits.recorded


def test_events_in_a_pack_are_lag(corruptible: CorruptibleDatabases) -> None:
    order = corruptible.orders["confirmed"]
    corruptible.corrupt("orders", DELETE_COMPLETION, order)
    insert_outbox_row(corruptible, "inventory", order.saga, sql=IN_A_PACK)
    report = corruptible.audit()
    assert report.clean
    assert report.lag is not None
    assert report.lag.orders == 1


@pytest.mark.parametrize(
    "row",
    [
        {"saga": STRANGER},
        {"kind": "retry", "recipient": "'orders'"},
        {"sql": OWED.replace("'{payload}'", "'[\"no pack\"]'")},
    ],
    ids=["another saga's", "a participant's own", "not readable"],
)
def test_an_event_that_no_row_owes_is_a_violation(
    row: dict[str, str], corruptible: CorruptibleDatabases
) -> None:
    order = corruptible.orders["confirmed"]
    corruptible.corrupt("orders", DELETE_COMPLETION, order)
    insert_outbox_row(corruptible, "orders", **{"saga": order.saga, **row})
    report = corruptible.audit()
    assert [(v.code, v.saga) for v in report.violations] == [("audit-incomplete", order.saga)]
    assert report.lag is None


def test_another_fault_of_an_order_in_lag_is_a_violation(corruptible: CorruptibleDatabases) -> None:
    order = corruptible.orders["confirmed"]
    corruptible.corrupt("orders", DELETE_COMPLETION, order)
    corruptible.corrupt("orders", "UPDATE orders_order SET confirmed_at = NULL WHERE id = %(order)s", order)
    insert_outbox_row(corruptible, "orders", order.saga)
    report = corruptible.audit()
    assert report.counts == {"journal-without-effect": 1}
    assert report.lag is not None


def test_a_trail_that_was_complete_before_is_read_once_more(corruptible: CorruptibleDatabases) -> None:
    """The missing event may have been emitted after the outboxes were read."""
    order = corruptible.orders["confirmed"]
    corruptible.corrupt("orders", "UPDATE orders_order SET confirmed_at = NULL WHERE id = %(order)s", order)

    def after_the_survey(what: str, done: int, _: int) -> None:
        if (what, done) == ("totals", 0):
            corruptible.corrupt(
                "orders", "UPDATE orders_order SET confirmed_at = now() WHERE id = %(order)s", order
            )
            corruptible.corrupt("orders", DELETE_COMPLETION, order)

    waits = RecordedWaits(lambda: corruptible.corrupt("orders", INSERT_COMPLETION, order))
    assert corruptible.audit(wait=waits, on_progress=after_the_survey).clean
    assert [suspects for _, suspects in waits.recorded] == [1]


# -- the queue -------------------------------------------------------------------------------------------


def management(rabbitmq: RabbitMQ) -> str:
    return rabbitmq.api.removesuffix("/api/")


@pytest.fixture
def rabbit_queue(rabbitmq: RabbitMQ, vhost: str) -> AuditQueue:
    with broker.open_connection(vhost) as connection:
        declare(connection, choreography())
    return audit_queue(vhost, management(rabbitmq))._replace(
        lag=2.0
    )  # the tests' node reports every half second


def test_messages_in_rabbitmqs_queue_are_lag_until_it_is_empty(
    rabbit_queue: AuditQueue, vhost: str, corruptible: CorruptibleDatabases
) -> None:
    order = corruptible.orders["confirmed"]
    corruptible.corrupt("orders", DELETE_COMPLETION, order)
    with broker.open_connection(vhost) as connection:
        connection.Producer().publish("{}", routing_key="audit")
    eventually(
        lambda: rabbit_queue.length().messages == 1, 10, "the queue's length", ignoring=(QueueUnknown,)
    )
    report = corruptible.audit(queue=rabbit_queue)
    assert report.clean
    assert report.lag == Lag(1, 0, 1, None)

    with broker.open_connection(vhost) as connection:
        connection.default_channel.queue_purge("audit")
    eventually(lambda: rabbit_queue.length().messages == 0, 10, "an empty queue")
    waits = RecordedWaits()
    report = corruptible.audit(queue=rabbit_queue, wait=waits)
    assert report.counts == {"audit-incomplete": 1}
    assert report.lag is None
    assert [seconds for seconds, _ in waits.recorded] == [pytest.approx(2.05, abs=0.5)], (
        "until the length has been reported"
    )


def test_messages_in_the_embedded_broker_are_lag_with_their_age(
    pgmq_broker: str, postgres: Postgres, corruptible: CorruptibleDatabases
) -> None:
    order = corruptible.orders["confirmed"]
    corruptible.corrupt("orders", DELETE_COMPLETION, order)
    with broker.open_connection(pgmq_broker) as connection:
        connection.Producer().publish("{}", routing_key="audit")
    with postgres.connect(pgmq_broker.rpartition("/")[2]) as cursor:
        cursor.execute("UPDATE pgmq.q_audit SET enqueued_at = now() - interval '2 min'")
    queue = audit_queue(pgmq_broker)
    report = corruptible.audit(queue=queue)
    assert report.clean
    assert report.lag is not None
    assert report.lag[:3] == (1, 0, 1)
    assert report.lag.oldest == pytest.approx(120, abs=10)

    with broker.open_connection(pgmq_broker) as connection:
        connection.default_channel.queue_purge("audit")
    assert corruptible.audit(queue=queue).counts == {"audit-incomplete": 1}


@pytest.fixture
def pgmq_broker(postgres: Postgres) -> Iterator[str]:
    postgres.ensure()
    postgres.create_role("broker")
    postgres.create_database("audits_broker", "broker")
    url = postgres.url("audits_broker", "broker").replace("postgresql", "pgmq")
    with broker.open_connection(url) as connection:
        declare(connection, choreography())
    yield url
    postgres.drop_databases("audits_broker")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("amqp://guest:guest@127.0.0.1:1//", "does not answer"),
        ("pgmq://nobody@127.0.0.1:1/nowhere", "refused"),
        ("redis://127.0.0.1", "Use amqp"),
    ],
)
def test_an_unreachable_broker_is_a_warning(url: str, why: str, corruptible: CorruptibleDatabases) -> None:
    corruptible.corrupt("orders", DELETE_COMPLETION, corruptible.orders["confirmed"])
    queue = audit_queue(url, "http://127.0.0.1:1" if url.startswith("amqp") else "")
    waits = RecordedWaits()
    report = corruptible.audit(queue=queue, wait=waits)
    assert report.counts == {"audit-incomplete": 1}
    assert not waits.recorded
    [warning] = [warning for warning in report.warnings if "so only outboxes are considered" in warning]
    assert why in warning


def test_a_queue_that_does_not_exist_is_a_warning(
    rabbitmq: RabbitMQ, vhost: str, corruptible: CorruptibleDatabases
) -> None:
    corruptible.corrupt("orders", DELETE_COMPLETION, corruptible.orders["confirmed"])
    report = corruptible.audit(queue=audit_queue(vhost, management(rabbitmq)))
    assert report.counts == {"audit-incomplete": 1}
    assert "no queue audit" in report.warnings[-1]


def test_the_broker_is_not_queried_without_lag(corruptible: CorruptibleDatabases) -> None:
    report = corruptible.audit(queue=audit_queue("redis://127.0.0.1"))
    assert report.clean
    assert "redis" not in " ".join(report.warnings)
    assert not [warning for warning in report.warnings if "outboxes" in warning]


# -- the command -----------------------------------------------------------------------------------------


def test_a_stopped_audit_pool_is_lag_until_it_catches_up(
    databases: Databases, environment: dict[str, str], pools: Pools, rabbitmq: RabbitMQ
) -> None:
    command = [
        sys.executable,
        "manage.py",
        "reconcile",
        "--grace=0",
        "--rabbitmq-admin",
        management(rabbitmq),
    ]

    def reconcile(*more: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, **environment}
        return subprocess.run(
            [*command, *more],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=scaled(60),
        )

    factory, probe = OrderFactory(databases), db_probe.DatabaseProbe(databases)
    factory.seed()
    pools.start_all("orders", "inventory", "payments")
    probe.wait_until_ended([*factory.place_many(20), *factory.place_many(5, "GONE")])
    queue = f"queues/{environment['ORDERSAGA_BROKER_URL'].rpartition('/')[2]}/audit"
    eventually(
        lambda: "messages" in rabbitmq.request("GET", queue),
        20,
        "RabbitMQ's management to know the new queue's length",
    )
    behind = reconcile("--json")
    assert behind.returncode == 0, behind.stdout
    lag = json.loads(behind.stdout)["lag"]
    assert lag["orders"] == 25
    assert lag["rows"] or lag["queued"]
    shown = reconcile()
    assert shown.returncode == 0
    assert "lag: the audit trail of 25 orders waits for " in shown.stdout

    pools.start("audit")
    eventually(
        lambda: json.loads(reconcile("--json").stdout)["lag"] is None, 30, "a trail that has caught up"
    )
    assert reconcile().returncode == 0


def test_an_invalid_management_address_is_refused() -> None:
    with pytest.raises(CommandError, match="--rabbitmq-admin: the management address must begin with http"):
        call_command("reconcile", "--rabbitmq-admin", "mq.local")
