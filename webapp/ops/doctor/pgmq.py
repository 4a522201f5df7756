"""Checks of the embedded broker by its tables in PostgreSQL: exchanges, queues, bindings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ordersaga.celery.pgmq.schema import STAMP
from ordersaga.celery.topology import DEAD, KIND, SIGNALS, UNHEARD, bindings_of, queues
from ordersaga.choreography import Choreography
from ordersaga.errors import OtherSaga
from webapp.ops.doctor.database import Database
from webapp.ops.doctor.finding import Finding, error
from webapp.ops.doctor.queues import (
    check_unconsumed,
    format_bindings,
    is_dead_letter_queue,
    other_saga_finding,
)

DECLARE = "Run manage.py provision, or start any pool: both declare what is missing"

QUEUES = """
SELECT name, coalesce(delivery_limit, 0), coalesce(dead_exchange, ''), coalesce(dead_key, ''), transient,
    to_regclass('pgmq.q_' || table_name) IS NOT NULL
FROM ordersaga_broker.queue
"""
UNCONSUMED = """
SELECT m.queue_length FROM ordersaga_broker.queue q, pgmq.metrics(q.table_name) m
WHERE q.name = %s AND m.oldest_msg_age_sec > 60
"""
"""A queue with a consumer holds no message older than a minute."""


def check_topology(database: Database, choreography: Choreography) -> Iterator[Finding]:
    """Exchanges, queues and bindings."""
    if not database.one("SELECT to_regclass('ordersaga_broker.installed') IS NOT NULL"):
        yield error(
            "broker-not-furnished",
            "embedded broker",
            "its tables are missing",
            "no ordersaga_broker",
            DECLARE,
        )
        return
    if (stamp := database.one("SELECT max(stamp) FROM ordersaga_broker.installed")) != STAMP:
        yield error(
            "broker-other-version", "embedded broker", "its functions belong to another release",
            f"{stamp}, not {STAMP}", "Start any pool of this release: it installs its functions",
        )  # fmt: skip
    yield from _check_exchanges(database, choreography.saga.name)
    found = {name: rest for name, *rest in database.rows(QUEUES)}
    bound = database.rows("SELECT queue, exchange, key FROM ordersaga_broker.binding")
    queue: Any
    for queue in queues(choreography):
        where = f"queue {queue.name}"
        if queue.name not in found:
            yield error("queue-missing", where, "there is no such queue", "not found", DECLARE)
            continue
        given = queue.queue_arguments or {}
        limit, dead, key, transient, stands = found[queue.name]
        needed = {
            "delivery-limit": (limit, given.get("x-delivery-limit") or 0),
            "dead-letter-exchange": (dead, given.get("x-dead-letter-exchange") or ""),
            "dead-letter-routing-key": (key, given.get("x-dead-letter-routing-key") or ""),
            "queue-not-durable": (transient, False),
            "queue-table-missing": (stands, True),
        }
        for code, (is_, should) in needed.items():
            if is_ != should:
                what = "messages may be lost or redelivered without limit"
                yield error(code, where, what, f"{is_ or 'none'}, not {should or 'none'}", DECLARE)
        if stands and is_dead_letter_queue(queue.name):
            for (messages,) in database.rows(UNCONSUMED, queue.name):
                yield from check_unconsumed(queue.name, messages)
        there = {(exchange, key) for name, exchange, key in bound if name == queue.name}
        if missing := sorted(bindings_of(queue) - there):
            what = "it does not receive all signals that its participant consumes"
            yield error("binding-missing", where, what, format_bindings(missing), DECLARE)


def _check_exchanges(database: Database, saga: str) -> Iterator[Finding]:
    found = {
        name: (kind, alternate)
        for name, kind, alternate in database.rows("SELECT * FROM ordersaga_broker.exchange")
    }
    other = found.get(KIND, ("", None))[1]
    if other and other != saga:
        yield other_saga_finding(OtherSaga(saga, other))
    exchange: Any
    for exchange in (UNHEARD, SIGNALS, DEAD):
        where = f"exchange {exchange.name}"
        if exchange.name not in found:
            yield error("exchange-missing", where, "there is no such exchange", "not found", DECLARE)
            continue
        kind, alternate = found[exchange.name]
        if kind != exchange.type:
            yield error(
                "exchange-differs",
                where,
                f"a {exchange.type} exchange is needed",
                kind,
                "Delete it. " + DECLARE,
            )
        if alternate != (exchange.arguments or {}).get("alternate-exchange"):
            yield error(
                "alternate-exchange",
                where,
                "signals without a consumer are lost",
                f"{alternate or 'none'}",
                DECLARE,
            )
