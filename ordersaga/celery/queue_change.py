"""Changes the arguments of a RabbitMQ queue that holds messages and has consumers, without losing a message.

RabbitMQ keeps the arguments with which a queue was declared and refuses any other declaration. So the queue
is deleted and declared again. Meanwhile a temporary queue has its bindings and its messages:

1. The temporary queue is bound to everything the queue is bound to; then the queue is unbound. A signal that
   is published in between arrives twice, which the journal absorbs.
2. Messages are published to the temporary queue with confirms and acknowledged, until the broker reports that
   the queue holds none, those in the hands of consumers included, for longer than it takes to report.
   Consumers that hold messages for long, such as those whose database is away, are disconnected, which
   returns the messages to the queue.
3. The queue is deleted, declared and bound, and all connections of the virtual host are closed: RabbitMQ
   moves consumers to the new queue without telling them, where they receive nothing. Which connections
   consume is reported too late to close only these: a pool may connect just before the deletion. Pools and
   relays connect again by themselves.
4. The temporary queue is unbound, emptied into the new one and deleted.

Each step looks at what stands, so an interrupted change is finished by the next run.
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
"""How long the broker must report an empty queue. Quorum queues report every 5 seconds unless configured
otherwise.
"""
PATIENCE = timedelta(minutes=5)
"""How long to wait without progress, such as for consumers that hold messages while their
database is away.
"""
ATTEMPTS = 3
"""A pool of another release that connects between deletion and declaration declares its own arguments."""
CONFIRM_SECONDS = 10
COUNTS = ("x-delivery-count", "x-acquired-count")
"""Headers that the broker sets at a delivery."""


class Broker(Protocol):
    """What the management interface knows and AMQP does not tell."""

    def bindings(self, queue: str) -> Iterable[tuple[str, str]]:
        """Exchange and routing key of every binding of a queue."""
        ...

    def messages(self, queue: str) -> int | None:
        """How many messages it holds, those delivered and not acknowledged included; None while that is not
        known.
        """
        ...

    def consuming(self, queue: str) -> Iterable[str]:
        """The names of the connections that consume it, as far as they are reported."""
        ...

    def connections(self) -> Iterable[str]:
        """The names of all connections of the virtual host but this one."""
        ...

    def disconnect(self, connection: str) -> None:
        """Close a connection, if it is still open."""
        ...


class QueueChangeError(OrderSagaError):
    """The queue could not be changed; it works as before, or the next run continues."""


def temporary_name(queue: str) -> str:
    """The queue that holds the messages meanwhile."""
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
        """Change it if it differs, and finish what an earlier run has begun.

        :raises QueueChangeError: consumers hold messages for too long, or another release declares the queue
            otherwise.
        """
        attempts = 0
        while not self._declared():
            if attempts == ATTEMPTS:
                self._give_back()
                raise QueueChangeError(
                    f"Queue {self._queue.name} was declared with the old arguments again. "
                    "Stop the pools of the previous release, then run this again."
                )
            attempts += 1
            self._empty()
            with self._connection.channel() as channel:
                channel.queue_delete(self._queue.name)
        if self._stands(self._temporary):
            for name in self._broker.connections():
                self._broker.disconnect(name)
            self._give_back()

    def _declared(self) -> bool:
        """Declare and bind the queue. False: it stands with other arguments."""
        try:
            with self._connection.channel() as channel:
                self._queue(channel).declare()
        except amqp.PreconditionFailed:
            return False
        return True

    def _stands(self, queue: Any) -> bool:
        try:
            with self._connection.channel() as channel:
                queue(channel).queue_declare(passive=True)
        except amqp.NotFound:
            return False
        return True

    def _empty(self) -> None:
        """Until nothing is in the queue or in the hands of its consumers, and nothing arrives there."""
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
                    self._take_back()
            elif empty_since is None:
                empty_since = now
            elif now - empty_since >= self._settled:
                return
            if now - progress > self._patience:
                self._give_back()
                raise QueueChangeError(
                    f"Consumers of {self._queue.name} do not acknowledge their messages "
                    f"(the broker counts {self._broker.messages(self._queue.name)}); the queue is as before. "
                    "Run this again when they work, or while they are stopped."
                )
            time.sleep(min(0.5, self._settled / 4))

    def _take_back(self) -> None:
        """Close the connections of consumers that hold messages and do not acknowledge them, and be there
        first.
        """
        for name in self._broker.consuming(self._queue.name):
            self._broker.disconnect(name)
        for _ in range(10):
            self._move(self._queue.name, self._temporary.name)
            time.sleep(0.05)

    def _give_back(self) -> None:
        """Bind the queue as it stands, and empty the temporary one into it."""
        with self._connection.channel() as channel:
            bind(self._queue(channel))
        deadline = time.monotonic() + self._patience
        while self._stands(self._temporary):
            self._unbind(self._temporary.name)
            try:
                moved = self._move(self._temporary.name, self._queue.name)
            except amqp.exceptions.MessageNacked:  # the queue is full: its consumers will make room
                if time.monotonic() > deadline:
                    raise QueueChangeError(
                        f"Queue {self._queue.name} is full; {self._temporary.name} holds the rest. "
                        "Run this again."
                    ) from None
                time.sleep(0.5)
                continue
            if not moved:  # nobody else consumes it, and nothing is bound to it
                with self._connection.channel() as channel:
                    channel.queue_delete(self._temporary.name)

    def _unbind(self, name: str) -> None:
        with self._connection.channel() as channel:
            for exchange, key in self._broker.bindings(name):
                if exchange:  # every queue is bound to the default exchange
                    channel.queue_unbind(name, exchange, routing_key=key)

    def _move(self, source: str, target: str) -> int:
        """Publish what is in one queue to another, each message confirmed before it is acknowledged; how
        many.
        """
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
