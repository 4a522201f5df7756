"""A channel that publishes, receives and acknowledges messages as RabbitMQ does."""

# mypy: allow-untyped-calls
# kombu is only partly typed, and super() hides which class has the method.

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from queue import Empty
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
from kombu.exceptions import ChannelError
from kombu.transport import virtual
from kombu.utils.json import dumps, loads

from ordersaga.celery.pgmq.connection import Row
from ordersaga.celery.pgmq.topology import Topology, not_found
from ordersaga.log import LogEvent, safe_message

logger = logging.getLogger(__name__)

DELIVERY_COUNT = "x-delivery-count"
TRANSIENT = 1
"""AMQP's delivery mode of a message that need not survive a crash of the broker."""
LONGEST = 1800.0
"""Seconds after which a message's visibility is no longer extended, like RabbitMQ's ``consumer_timeout``."""


class HeldMessage(NamedTuple):
    """A delivered, unacknowledged message. ``read_ct`` shows whether it was delivered again since."""

    table: str
    msg_id: int
    read_ct: int
    since: float = 0.0

    @property
    def key(self) -> tuple[str, int, int]:
        """Its key for the broker's functions."""
        return self.table, self.msg_id, self.read_ct


class Channel(Topology):
    """A channel whose delivered messages stay invisible to others for ``visibility_timeout`` seconds.

    ``extend_visibility`` extends this.

    Upstream: fixed at half an hour. The messages of a killed worker, and prefetched messages of a worker that
    stops, return after half an hour, and a longer task runs twice.
    """

    default_visibility_timeout = 30
    longest = LONGEST
    default_init_extension = False

    def __init__(self, connection: Any, **options: Any) -> None:
        self._held: dict[str, HeldMessage] = {}
        self._held_lock = threading.Lock()
        super().__init__(connection, **options)

    # -- publishing

    def basic_publish(
        self, message: dict[str, Any], exchange: str, routing_key: str, mandatory: bool = False, **_: Any
    ) -> None:
        """Route a message durably, with one statement.

        Upstream: a message with headers and without a delay finds no SQL function when it goes to a topic.

        :raises ChannelError: when the exchange does not exist, or a ``mandatory`` message has no queue.
        """
        self._inplace_augment_message(message, exchange, routing_key)
        properties = message["properties"]
        routed = self.database.one(
            "SELECT ordersaga_broker.publish(%s, %s, %s::jsonb, %s, %s)",
            exchange or "",
            routing_key or "",
            dumps(message),
            max(0, int(properties.get("DelaySeconds") or 0)),
            properties.get("delivery_mode") != TRANSIENT,
        )
        if routed < 0:
            raise not_found("exchange", exchange)
        if mandatory and not routed:
            text = f"NO_ROUTE - no queue is bound to {routing_key!r} at exchange {exchange!r}"
            raise ChannelError(text, (60, 50), "Channel.basic_publish", "312")

    # -- consuming

    def basic_consume(
        self,
        queue: str,
        no_ack: bool,
        callback: Callable[..., Any],
        consumer_tag: str,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if no_ack:
            self._noack_queues.add(queue)
        self.connection.notifier.listen(queue, self.canonical_queue_name(queue))
        virtual.Channel.basic_consume(self, queue, no_ack, callback, consumer_tag, *args, **kwargs)

    def basic_cancel(self, consumer_tag: str) -> None:
        queue = self._tag_to_queue.get(consumer_tag)
        super().basic_cancel(consumer_tag)
        if queue is None or not self.database.usable:
            return
        try:
            self.connection.notifier.ignore(queue, self.canonical_queue_name(queue))
            self.database.rows("SELECT ordersaga_broker.drop_unused(%s)", queue)
        except psycopg.Error as error:
            sentence = "The unused queue could not be dropped."
            logger.debug(LogEvent("queue_not_dropped", sentence, queue=queue, error=safe_message(error)))

    def _receive(self, queue: str, quantity: int, no_ack: bool) -> list[Row]:
        table = self.canonical_queue_name(queue)
        if no_ack:
            return self.database.rows("SELECT * FROM ordersaga_broker.pop(%s, %s)", table, quantity)
        return self.database.rows(
            "SELECT * FROM ordersaga_broker.take(%s, %s, %s)", table, self.visibility_timeout, quantity
        )

    def _payload(self, queue: str, row: Row, no_ack: bool) -> dict[str, Any]:
        """Convert a message to kombu's form, and record it as held.

        Upstream: the publisher creates the delivery tag, so the copies and the redeliveries of a message
        share it, and an acknowledgement may end the wrong one. The delivery count is not passed on.
        """
        msg_id, read_ct, text = row
        payload: dict[str, Any] = loads(text)
        tag = str(uuid4())
        payload["headers"] = {**(payload.get("headers") or {}), DELIVERY_COUNT: read_ct - 1}
        properties = payload["properties"]
        properties["delivery_tag"] = tag
        properties["delivery_info"] = {**properties.get("delivery_info", {}), "redelivered": read_ct > 1}
        if not no_ack:
            with self._held_lock:
                self._held[tag] = HeldMessage(
                    self.canonical_queue_name(queue), msg_id, read_ct, time.monotonic()
                )
        return payload

    def _get(self, queue: str, timeout: float | None = None, no_ack: bool = False) -> dict[str, Any]:
        rows = self._receive(queue, 1, no_ack)
        if not rows:
            raise Empty
        return self._payload(queue, rows[0], no_ack)

    def _get_bulk(self, queue: str, *_: Any, **__: Any) -> None:
        """Deliver a few messages, as the prefetch allows; do not wait, because other queues would wait."""
        no_ack = queue in self._noack_queues
        quantity = self._get_message_estimate() if self.qos.can_consume() else 0
        if no_ack:
            quantity = 1  # kombu's mailboxes count replies by calls of drain_events
        rows = self._receive(queue, quantity, no_ack) if quantity else []
        if not rows:
            raise Empty
        payloads = [self._payload(queue, row, no_ack) for row in rows]  # record all before a callback raises
        for payload in payloads:
            if queue in self._active_queues:
                self.connection._deliver(payload, queue)
            else:  # a callback has just cancelled the consumer
                self.basic_reject(payload["properties"]["delivery_tag"], requeue=True)

    # -- acknowledging

    def basic_ack(self, delivery_tag: str, multiple: bool = False) -> None:
        if multiple:
            raise NotImplementedError("multiple acknowledgements")
        held = self._take_held(delivery_tag)
        if held is not None:
            self.database.rows("SELECT ordersaga_broker.acknowledge(%s, %s)", held.table, held.msg_id)
        self._finish(delivery_tag)

    def basic_reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Return the message to the queue, or move it to the dead letters.

        Upstream: rejected messages are deleted, and a message that kills each worker returns without limit.
        """
        held = self._take_held(delivery_tag)
        if held is not None and requeue:
            self.database.rows("SELECT ordersaga_broker.give_back(%s, %s, %s)", *held.key)
        elif held is not None:
            self.database.rows("SELECT ordersaga_broker.bury(%s, %s, %s, 'rejected')", *held.key)
        self._finish(delivery_tag)

    def _restore(self, message: Any, *_: Any) -> None:
        held = self._take_held(message.delivery_tag)
        if held is not None:
            self.database.rows("SELECT ordersaga_broker.give_back(%s, %s, %s)", *held.key)

    def _take_held(self, delivery_tag: str) -> HeldMessage | None:
        with self._held_lock:
            held = self._held.pop(delivery_tag, None)
        if held is None:
            sentence = "The message was returned before its acknowledgement, when the channel closed."
            logger.warning(LogEvent("acknowledgement_too_late", sentence, tag=delivery_tag))
        return held

    def _finish(self, delivery_tag: str) -> None:
        self.qos.ack(delivery_tag)
        if self.connection is not None:
            self.connection.notifier.wake()  # the prefetch allows another message

    def extend_visibility(self) -> int:
        """Extend the visibility of unacknowledged messages, with one statement for each queue.

        Thread-safe. Excludes messages that were delivered to another consumer meanwhile, or :data:`LONGEST`
        seconds ago.

        :returns: the number of extended messages.
        :raises psycopg.OperationalError: when the database is not available.
        """
        with self._held_lock:
            held_messages = [
                held for held in self._held.values() if time.monotonic() - held.since < self.longest
            ]
        by_table: defaultdict[str, list[HeldMessage]] = defaultdict(list)
        for held in held_messages:
            by_table[held.table].append(held)
        return sum(
            self.database.one(
                "SELECT ordersaga_broker.keep(%s, %s::bigint[], %s::integer[], %s)",
                table,
                [held.msg_id for held in some],
                [held.read_ct for held in some],
                self.visibility_timeout,
            )
            for table, some in by_table.items()
        )

    def close(self) -> None:
        """Return unacknowledged messages, as RabbitMQ does, and stop consuming."""
        if not self.closed and self.connection is not None and self.database.usable:
            try:
                while self._held:
                    with self._held_lock:
                        _, held = self._held.popitem()
                    self.database.rows("SELECT ordersaga_broker.give_back(%s, %s, %s)", *held.key)
            except psycopg.Error as error:
                sentence = "Messages in progress could not be returned; they become visible by themselves."
                logger.debug(LogEvent("messages_not_returned", sentence, error=safe_message(error)))
        super().close()


def extend_visibility(channel: Any) -> int:
    """Extend the visibility of a channel's messages; 0 for a channel of another transport."""
    return channel.extend_visibility() if isinstance(channel, Channel) and not channel.closed else 0
