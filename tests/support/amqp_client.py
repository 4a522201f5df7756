"""Publishes and takes messages by plain AMQP, without the engine: foreign, forged or duplicated ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import amqp

from ordersaga.celery.message_verification import CONTENT_TYPE
from ordersaga.envelope import PackHeader, SignalRow, encode_envelope, encode_pack, encode_row
from ordersaga.ids import new_id
from ordersaga.signing import Keyring
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled

THIS_KEY = "this:the-secret-with-which-the-pools-sign-now"
NEXT_KEY = "next:the-secret-with-which-they-will-sign-soon"
KEYRING = Keyring.parse(THIS_KEY)


class AmqpClient:
    """Works on one virtual host."""

    def __init__(self, rabbitmq: RabbitMQ, vhost: str) -> None:
        self.rabbitmq, self.vhost = rabbitmq, vhost

    def send(
        self,
        topic: str,
        body: bytes,
        *,
        signals: int = 1,
        to: str | None = None,
        keyring: Keyring | None = KEYRING,
        signature: str | None = None,
        headers: Mapping[str, Any] | None = None,
        content_type: str = CONTENT_TYPE,
        exchange: str = "ordersaga",
        properties: Mapping[str, Any] | None = None,
    ) -> str:
        """Publish one message and wait for the broker's confirmation; return its id.

        :param to: the one participant that receives it; by default all that are bound to the topic.
        :param keyring: signs it, unless it is None or ``signature`` is given.
        """
        letter_id = new_id()
        all_headers: dict[str, Any] = {"task": topic, "id": letter_id, "ordersaga-signals": signals}
        if signature is not None:
            all_headers["ordersaga-signature"] = signature
        elif keyring is not None:
            all_headers["ordersaga-signature"] = keyring.sign(letter_id, topic, signals, body)
        usual = {
            "content_encoding": "binary",
            "delivery_mode": 2,
            "message_id": letter_id,
            "correlation_id": letter_id,
        }
        all_headers |= headers or {}
        message = amqp.Message(
            body,
            **{**usual, **(properties or {})},
            content_type=content_type,
            application_headers=all_headers,
        )
        with self.rabbitmq.connect(self.vhost, confirm_publish=True) as connection:
            key = f"to.{to}" if to else topic
            connection.channel().basic_publish(message, exchange=exchange, routing_key=key)
        return letter_id

    def take(self, queue: str) -> Any:
        """Remove the oldest message of a queue and return it; None if the queue is empty."""
        with self.rabbitmq.connect(self.vhost) as connection:
            return connection.channel().basic_get(queue, no_ack=True)

    def reject(self, queue: str) -> bool:
        """Reject the oldest message of a queue, so that the broker dead-letters it; False if it is empty."""
        with self.rabbitmq.connect(self.vhost) as connection:
            channel = connection.channel()
            if found := channel.basic_get(queue):
                channel.basic_reject(found.delivery_tag, requeue=False)
            return found is not None

    def deliver(self, message: Any, to: str) -> None:
        """Publish an earlier message unchanged to one participant's queue."""
        with self.rabbitmq.connect(self.vhost, confirm_publish=True) as connection:
            connection.channel().basic_publish(
                amqp.Message(message.body, **message.properties), "ordersaga", f"to.{to}"
            )

    @contextmanager
    def duplicating(self, times: int) -> Iterator[None]:
        """Publish every message ``times`` times more."""

        def copy(channel: Any, message: Any) -> None:
            headers = message.properties.get("application_headers", {})
            if "copied" not in headers:
                properties = {**message.properties, "application_headers": {**headers, "copied": 1}}
                for _ in range(times):
                    key = message.delivery_info["routing_key"]
                    channel.basic_publish(amqp.Message(message.body, **properties), "ordersaga", key)

        with self._consuming(copy):
            yield

    @contextmanager
    def recording(self, exchange: str = "ordersaga") -> Iterator[list[Any]]:
        """Collect all messages that are published to a topic exchange."""
        messages: list[Any] = []
        with self._consuming(lambda _, message: messages.append(message), exchange):
            yield messages

    @contextmanager
    def _consuming(self, handle: Callable[[Any, Any], None], exchange: str = "ordersaga") -> Iterator[None]:
        stop, ready = threading.Event(), threading.Event()

        def consume() -> None:
            with self.rabbitmq.connect(self.vhost) as connection:
                channel = connection.channel()
                queue = channel.queue_declare("", exclusive=True).queue
                channel.queue_bind(queue, exchange, routing_key="#")
                channel.basic_consume(queue, no_ack=True, callback=lambda message: handle(channel, message))
                ready.set()
                while not stop.is_set():
                    try:
                        connection.drain_events(timeout=0.1)
                    except TimeoutError:
                        continue

        thread = threading.Thread(target=consume, name="amqp-client")
        thread.start()
        try:
            assert ready.wait(scaled(20))
            yield
        finally:
            stop.set()
            thread.join(scaled(20))


def envelope_body(topic: str, saga: str, data: str, *, version: int = 1, by: str = "orders") -> bytes:
    """Return the body of an envelope of one signal; ``data`` is JSON."""
    row = SignalRow(new_id(), saga, None, version, "2026-01-01T00:00:00.000+00:00", 0, None, None, data)
    return encode_envelope(topic, [encode_pack(PackHeader(by, None, None, 1), [encode_row(row)])])
