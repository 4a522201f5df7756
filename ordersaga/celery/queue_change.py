"""Change the arguments of a RabbitMQ queue with messages and consumers, without losing a message.

RabbitMQ refuses a declaration with other arguments, so the queue is deleted and declared again. Meanwhile a
temporary queue has its bindings and its messages:

1. The temporary queue is bound like the queue; then the queue is unbound. A signal that is published in
   between arrives twice, and the journal discards the duplicate.
2. Messages are published to the temporary queue with confirms and acknowledged, until the broker reports that
   the queue has none, including unacknowledged ones, for longer than its reporting interval. Consumers that
   hold messages for long are disconnected, which returns the messages to the queue.
3. The queue is deleted, declared and bound, and all connections of the virtual host are closed: RabbitMQ
   moves consumers to the new queue without a notification, and they receive nothing. Pools and relays
   reconnect. Closing only the consuming connections would not do, because they are reported too late.
4. The temporary queue is unbound, emptied into the new one and deleted.

Each step checks the present state, so that the next run completes an interrupted change.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Protocol

import amqp
from kombu import Connection, Exchange, Queue, binding

from ordersaga.celery.topology import KEEPING, bind, bindings_of
from ordersaga.errors import OrderSagaError

SETTLED = timedelta(seconds=15)
"""How long the broker must report an empty queue; quorum queues report every 5 seconds by default."""
PATIENCE = timedelta(minutes=5)
"""How long to wait without progress, such as for consumers whose database is not available."""
ATTEMPTS = 3
"""Attempts: a pool of another release may declare its arguments between deletion and declaration."""
CONFIRM_SECONDS = 10
COUNTS = ("x-delivery-count", "x-acquired-count")
"""Headers that the broker sets at a delivery."""


class Broker(Protocol):
    """The queries of the management interface that AMQP lacks."""

    def bindings(self, queue: str) -> Iterable[tuple[str, str]]:
        """Exchange and routing key of every binding of a queue."""
        ...

    def messages(self, queue: str) -> int | None:
        """The number of messages, including unacknowledged ones; None while it is unknown."""
        ...

    def consuming(self, queue: str) -> Iterable[str]:
        """The names of the reported connections that consume a queue."""
        ...

    def connections(self) -> Iterable[str]:
        """The names of all other connections of the virtual host."""
        ...

    def disconnect(self, connection: str) -> None:
        """Close a connection, if it is still open."""
        ...


class QueueChangeError(OrderSagaError):
    """The queue could not be changed; it works as before, or the next run completes the change."""


def temporary_name(queue: str) -> str:
    """The name of the temporary queue."""
    return f"{queue}.changing"


class QueueChange:
    """The change of one queue to its declaration."""

    def __init__(self, connection: Connection, queue: Any, broker: Broker) -> None:
        """:param connection: with publisher confirms."""
        self._connection, self._queue, self._broker = connection, queue, broker
        self._settled, self._patience = SETTLED.total_seconds(), PATIENCE.total_seconds()
        wanted = [
            binding(Exchange(exchange, no_declare=True), routing_key=key)
            for exchange, key in bindings_of(queue)
        ]
        self._temporary: Any = Queue(
            temporary_name(queue.name), bindings=wanted, durable=True, queue_arguments=KEEPING
        )

    def run(self) -> None:
        """Change the queue if its arguments differ, or complete an earlier run.

        :raises QueueChangeError: when consumers hold messages for too long, or another release declares the
            queue with the old arguments.
        """
        attempts = 0
        while not self._declared():
            if attempts == ATTEMPTS:
                self._restore()
                raise QueueChangeError(
                    f"Queue {self._queue.name} was declared with the old arguments again. "
                    "Stop the pools of the previous release, then run this again."
                )
            attempts += 1
            self._empty()
            with self._connection.channel() as channel:
                channel.queue_delete(self._queue.name)
        if self._exists(self._temporary):
            for name in self._broker.connections():
                self._broker.disconnect(name)
            self._restore()

    def _declared(self) -> bool:
        """Declare and bind the queue; return False if it exists with other arguments."""
        try:
            with self._connection.channel() as channel:
                self._queue(channel).declare()
        except amqp.PreconditionFailed:
            return False
        return True

    def _exists(self, queue: Any) -> bool:
        try:
            with self._connection.channel() as channel:
                queue(channel).queue_declare(passive=True)
        except amqp.NotFound:
            return False
        return True

    def _empty(self) -> None:
        """Move messages until the queue is empty, without unacknowledged or new messages."""
        with self._connection.channel() as channel:
            self._temporary(channel).declare()
        progress = time.monotonic()
        empty_since: float | None = None
        while True:
            self._unbind(self._queue.name)
            moved = self._move(self._queue.name, self._temporary.name)
            now = time.monotonic()
            if moved:
                progress = now
            if moved or self._broker.messages(self._queue.name) != 0:
                empty_since = None
                if now - progress > self._settled:
                    self._disconnect_holders()
            elif empty_since is None:
                empty_since = now
            elif now - empty_since >= self._settled:
                return
            if now - progress > self._patience:
                self._restore()
                raise QueueChangeError(
                    f"Consumers of {self._queue.name} do not acknowledge their messages "
                    f"(the broker counts {self._broker.messages(self._queue.name)}); the queue is as before. "
                    "Run this again when they work, or while they are stopped."
                )
            time.sleep(min(0.5, self._settled / 4))

    def _disconnect_holders(self) -> None:
        """Disconnect consumers that do not acknowledge, and take the returned messages before others do."""
        for name in self._broker.consuming(self._queue.name):
            self._broker.disconnect(name)
        for _ in range(10):
            self._move(self._queue.name, self._temporary.name)
            time.sleep(0.05)

    def _restore(self) -> None:
        """Bind the queue, and empty the temporary one into it."""
        with self._connection.channel() as channel:
            bind(self._queue(channel))
        deadline = time.monotonic() + self._patience
        while self._exists(self._temporary):
            self._unbind(self._temporary.name)
            try:
                moved = self._move(self._temporary.name, self._queue.name)
            except amqp.exceptions.MessageNacked:  # the queue is full; wait for its consumers
                if time.monotonic() > deadline:
                    raise QueueChangeError(
                        f"Queue {self._queue.name} is full; {self._temporary.name} holds the rest. "
                        "Run this again."
                    ) from None
                time.sleep(0.5)
                continue
            if not moved:  # it has no other consumer and no binding
                with self._connection.channel() as channel:
                    channel.queue_delete(self._temporary.name)

    def _unbind(self, name: str) -> None:
        with self._connection.channel() as channel:
            for exchange, key in self._broker.bindings(name):
                if exchange:  # every queue is bound to the default exchange
                    channel.queue_unbind(name, exchange, routing_key=key)

    def _move(self, source: str, target: str) -> int:
        """Move messages, each confirmed before it is acknowledged; return their number."""
        moved = 0
        with self._connection.channel() as channel:
            while (message := channel.basic_get(source)) is not None:
                properties = dict(message.properties)
                headers = properties.pop("application_headers", None) or {}
                properties["application_headers"] = {k: v for k, v in headers.items() if k not in COUNTS}
                channel.basic_publish(
                    amqp.Message(message.body, **properties), exchange="", routing_key=target, mandatory=True,
                    timeout=CONFIRM_SECONDS, confirm_timeout=CONFIRM_SECONDS,
                )  # fmt: skip
                channel.basic_ack(message.delivery_tag)
                moved += 1
        return moved
