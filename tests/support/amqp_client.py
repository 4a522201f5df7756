"""Plain AMQP beside the engine: letters as a stranger, a forger or a faulty network would send them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import amqp

from ordersaga.celery.messages import CONTENT_TYPE
from ordersaga.envelope import PackHeader, SignalRow, encode_envelope, encode_pack, encode_row
from ordersaga.ids import new_id
from ordersaga.signing import Keyring
from tests.support.rabbitmq import RabbitMQ
from tests.support.time_scale import scaled

THIS_KEY = "this:the-secret-with-which-the-pools-sign-now"
NEXT_KEY = "next:the-secret-with-which-they-will-sign-soon"
KEYRING = Keyring.parse(THIS_KEY)


class Mail:
    """Letters to the exchange of one virtual host."""

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
        """Send one letter and wait for the broker's confirmation; gives its id.

        :param to: only this participant gets it; by default whoever hears the topic.
        :param keyring: signs it, unless it is None or ``signature`` stands instead.
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
        """Take the oldest letter out of a queue and keep it back; None when there is none."""
        with self.rabbitmq.connect(self.vhost) as connection:
            return connection.channel().basic_get(queue, no_ack=True)

    def refuse(self, queue: str) -> bool:
        """Take the oldest letter out of a queue and refuse it, so that the broker gives it up; whether there
        was one.
        """
        with self.rabbitmq.connect(self.vhost) as connection:
            channel = connection.channel()
            if found := channel.basic_get(queue):
                channel.basic_reject(found.delivery_tag, requeue=False)
            return found is not None

    def deliver(self, letter: Any, to: str) -> None:
        """Send a letter taken before to one participant's queue, as it was."""
        with self.rabbitmq.connect(self.vhost, confirm_publish=True) as connection:
            connection.channel().basic_publish(
                amqp.Message(letter.body, **letter.properties), "ordersaga", f"to.{to}"
            )

    @contextmanager
    def copied(self, times: int) -> Iterator[None]:
        """While it lasts, a man in the middle sends everything that is published so many times more."""

        def copy(channel: Any, letter: Any) -> None:
            headers = letter.properties.get("application_headers", {})
            if "copied" not in headers:
                properties = {**letter.properties, "application_headers": {**headers, "copied": 1}}
                for _ in range(times):
                    key = letter.delivery_info["routing_key"]
                    channel.basic_publish(amqp.Message(letter.body, **properties), "ordersaga", key)

        with self._listening(copy):
            yield

    @contextmanager
    def overheard(self, exchange: str = "ordersaga") -> Iterator[list[Any]]:
        """All letters that are published to a topic exchange while it lasts."""
        letters: list[Any] = []
        with self._listening(lambda _, letter: letters.append(letter), exchange):
            yield letters

    @contextmanager
    def _listening(self, hear: Callable[[Any, Any], None], exchange: str = "ordersaga") -> Iterator[None]:
        stop, ready = threading.Event(), threading.Event()

        def listen() -> None:
            with self.rabbitmq.connect(self.vhost) as connection:
                channel = connection.channel()
                queue = channel.queue_declare("", exclusive=True).queue
                channel.queue_bind(queue, exchange, routing_key="#")
                channel.basic_consume(queue, no_ack=True, callback=lambda letter: hear(channel, letter))
                ready.set()
                while not stop.is_set():
                    try:
                        connection.drain_events(timeout=0.1)
                    except TimeoutError:
                        continue

        thread = threading.Thread(target=listen, name="eavesdropper")
        thread.start()
        try:
            assert ready.wait(scaled(20))
            yield
        finally:
            stop.set()
            thread.join(scaled(20))


def letter(topic: str, saga: str, data: str, *, version: int = 1, by: str = "orders") -> bytes:
    """The body of an envelope of one signal; ``data`` is JSON."""
    row = SignalRow(new_id(), saga, None, version, "2026-01-01T00:00:00.000+00:00", 0, None, None, data)
    return encode_envelope(topic, [encode_pack(PackHeader(by, None, None, 1), [encode_row(row)])])
