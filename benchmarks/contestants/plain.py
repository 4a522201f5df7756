"""What a team writes first: a chain of three tasks, each with its effect in one transaction, and nothing
else.

``celery -A benchmarks.contestants.plain worker -Q inventory``. Messages are durable; there is no inbox, no
outbox, no confirm, and a task is acknowledged before it runs, as is Celery's default: what is lost is lost.
"""

from __future__ import annotations

import os

from celery import Celery, chain
from kombu import Queue

from benchmarks.contestants import effects
from benchmarks.contestants.effects import Lines

app = Celery("plain", broker=os.environ.get("ORDERSAGA_BROKER_URL"), set_as_current=False, fixups=[])
app.conf.update(
    task_queues=[Queue(name, durable=True) for name in ("orders", "inventory", "payments")],
    task_default_queue="orders",
    task_create_missing_queues=False,
    task_default_delivery_mode="persistent",
    task_ignore_result=True,
    worker_send_task_events=False,
    worker_hijack_root_logger=True,
)


@app.task(name="inventory.reserve", queue="inventory")
def reserve(saga: str, number: int, lines: Lines) -> None:
    with effects.transaction("inventory") as cursor:
        effects.hold(cursor, saga, number, lines)


@app.task(name="payments.charge", queue="payments")
def charge(saga: str, number: int, customer: str, amount: int) -> None:
    with effects.transaction("payments") as cursor:
        effects.charge(cursor, saga, number, customer, amount)


@app.task(name="orders.confirm", queue="orders")
def confirm(saga: str) -> None:
    with effects.transaction("orders") as cursor:
        effects.confirm(cursor, saga)


def send(saga: str, number: int, customer: str, amount: int, lines: Lines) -> None:
    """Start an order's chain."""
    steps = chain(
        reserve.si(saga, number, lines), charge.si(saga, number, customer, amount), confirm.si(saga)
    )
    steps.apply_async()
