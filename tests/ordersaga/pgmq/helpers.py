"""Helpers that publish to the embedded broker and read its queues."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery
from kombu import Connection, Producer

from tests.ordersaga.pgmq.peer import VISIBILITY
from tests.support.polling import eventually
from tests.support.processes import Process

Peer = Callable[..., Process]


def publish(connection: Connection, exchange: str, key: str, n: int, **options: Any) -> None:
    Producer(connection.default_channel).publish({"n": n}, exchange=exchange, routing_key=key, **options)


def size(connection: Connection, queue: str) -> int:
    count: int = connection.default_channel.queue_declare(queue, passive=True).message_count
    return count


def get(connection: Connection, queue: str, timeout: float = 2 * VISIBILITY + 2) -> Any:
    return eventually(lambda: connection.default_channel.basic_get(queue), timeout, f"a message in {queue}")


def is_empty(connection: Connection, *queues: str) -> None:
    eventually(lambda: all(size(connection, queue) == 0 for queue in queues), 10, f"nothing left in {queues}")


def tell(app: Celery, task: str, *args: object) -> None:
    app.send_task(task, args, exchange="ordersaga", routing_key="to.inventory", declare=[])


def words(log_file: Path) -> list[str]:
    return log_file.read_text().splitlines() if log_file.exists() else []
