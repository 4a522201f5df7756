"""A careful Celery application: a task for each step, with inbox, outbox, publisher confirms and late acks.

``celery -A benchmarks.contestants.careful worker -Q inventory``, and for each domain a relay that publishes
its outbox: ``python -m benchmarks.contestants.careful inventory``. All queues are quorum queues.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import orjson
from celery import Celery
from kombu import Queue

from benchmarks.contestants import effects

DOMAINS = ("orders", "inventory", "payments")
TABLES = """
CREATE TABLE careful_inbox (saga_id uuid, step text, PRIMARY KEY (saga_id, step));
CREATE TABLE careful_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text NOT NULL, task text NOT NULL, kwargs text NOT NULL
)
"""
INSERT_INBOX = "INSERT INTO careful_inbox (saga_id, step) VALUES (%s, %s) ON CONFLICT DO NOTHING"
INSERT_OUTBOX = "INSERT INTO careful_outbox (queue, task, kwargs) VALUES (%s, %s, %s)"
CLAIM = """
DELETE FROM careful_outbox
WHERE id IN (SELECT id FROM careful_outbox ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED)
RETURNING queue, task, kwargs
"""
POLL = 0.01
"""Seconds between two polls of an empty outbox."""

app = Celery("careful", broker=os.environ.get("ORDERSAGA_BROKER_URL"), set_as_current=False, fixups=[])
app.conf.update(
    task_queues=[Queue(name, durable=True, queue_arguments={"x-queue-type": "quorum"}) for name in DOMAINS],
    task_default_queue="orders",
    task_create_missing_queues=False,
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_transport_options={"confirm_publish": True},
    worker_send_task_events=False,
)


def enqueue(cursor: Any, queue: str, task: str, **kwargs: Any) -> None:
    """Insert the next task into the outbox."""
    cursor.execute(INSERT_OUTBOX, [queue, task, orjson.dumps(kwargs).decode()])


def _is_first_delivery(cursor: Any, saga: str, step: str) -> bool:
    cursor.execute(INSERT_INBOX, [saga, step])
    return bool(cursor.rowcount)


@app.task(name="inventory.reserve", queue="inventory")
def reserve(saga: str, number: int, customer: str, amount: int, lines: effects.Lines) -> None:
    with effects.transaction("inventory") as cursor:
        if _is_first_delivery(cursor, saga, "reserve"):
            effects.hold(cursor, saga, number, lines)
            enqueue(
                cursor,
                "payments",
                "payments.charge",
                saga=saga,
                number=number,
                customer=customer,
                amount=amount,
            )


@app.task(name="payments.charge", queue="payments")
def charge(saga: str, number: int, customer: str, amount: int) -> None:
    with effects.transaction("payments") as cursor:
        if _is_first_delivery(cursor, saga, "charge"):
            effects.charge(cursor, saga, number, customer, amount)
            enqueue(cursor, "orders", "orders.confirm", saga=saga)


@app.task(name="orders.confirm", queue="orders")
def confirm(saga: str) -> None:
    with effects.transaction("orders") as cursor:
        if _is_first_delivery(cursor, saga, "confirm"):
            effects.confirm(cursor, saga)


def relay(domain: str, stopping: Callable[[float], bool]) -> None:
    """Publish a domain's outbox until ``stopping``; a crash between confirm and commit publishes twice."""
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        while not stopping(0):
            with effects.transaction(domain) as cursor:
                cursor.execute(CLAIM)
                owed = cursor.fetchall()
                for queue, task, kwargs in owed:
                    app.send_task(task, kwargs=orjson.loads(kwargs), queue=queue, producer=producer)
            if not owed:
                stopping(POLL)


if __name__ == "__main__":
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    print("ready.", flush=True)
    relay(sys.argv[1], stop.wait)
