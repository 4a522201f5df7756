"""Consume the broker's dead letters: messages that no worker could read, or that killed workers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from celery import bootsteps
from celery.utils.log import get_logger
from kombu import Consumer, Queue

from ordersaga.celery.message_verification import raw_body
from ordersaga.celery.topology import DEAD_SUFFIX, dead_queue_of, declare, unheard_queue
from ordersaga.envelope import digest
from ordersaga.log import LogEvent, safe_message

logger = get_logger(__name__)


@dataclass(frozen=True)
class DeadMessage:
    """A dead message, undecoded.

    :ivar queue: the queue where it died; for unroutable messages, the queue for those.
    :ivar properties: of AMQP, and the ``routing_key`` of its publication to the dead-letter queue.
    """

    queue: str
    body: bytes
    headers: Mapping[str, Any]
    properties: Mapping[str, Any]

    @property
    def unheard(self) -> bool:
        """Whether no queue was bound to its topic."""
        return self.queue == unheard_queue().name

    @property
    def reason(self) -> str:
        """The broker's ``rejected``, ``delivery_limit``, ``expired`` or ``maxlen``; or ``unheard``."""
        return "unheard" if self.unheard else str(self.headers.get("x-first-death-reason", "rejected"))


Keep = Callable[[DeadMessage], None]


class Drain(bootsteps.StartStopStep):
    """Empties the dead-letter queues in a thread of the worker's main process."""

    requires = {"celery.worker.components:Pool"}
    keep: Keep

    def __init__(self, worker: Any, **_: Any) -> None:
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, worker: Any) -> None:
        self._thread = threading.Thread(
            target=self._run, args=(worker.app,), name="dead letters", daemon=True
        )
        self._thread.start()

    def stop(self, worker: Any) -> None:
        """End the thread after the current message."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    terminate = stop

    def _run(self, app: Any) -> None:
        wait = 0.5
        while not self._stop.is_set():
            try:
                self._drain(app)
                wait = 0.5
            except Exception as error:  # noqa: BLE001 - logged and retried
                sentence = "Dead letters cannot be read or stored; they stay in the broker."
                fields = {"error": safe_message(error), "wait": wait}
                logger.warning(LogEvent("dead_letters_waiting", sentence, **fields))
                self._stop.wait(wait)
                wait = min(wait * 2, 10.0)

    def _drain(self, app: Any) -> None:
        choreography = app.ordersaga.choreography
        with app.connection_for_read(heartbeat=app.conf.broker_heartbeat) as connection:
            declare(connection, choreography)
            with connection.channel() as channel:
                channel.basic_qos(0, 10, False)
                for queue in (
                    unheard_queue(),
                    *(dead_queue_of(p) for p in choreography.participants.values()),
                ):
                    self._listen(channel, queue)
                while not self._stop.is_set():
                    try:
                        connection.drain_events(timeout=1)
                    except TimeoutError:
                        connection.heartbeat_check()

    def _listen(self, channel: Any, queue: Queue) -> None:
        name = queue.name.removesuffix(DEAD_SUFFIX)

        def on_message(message: Any, _: Exception | None = None) -> None:
            dead = dead_message(message, name)
            self.keep(dead)
            message.ack()
            fields = {"queue": dead.queue, "reason": dead.reason, "body": digest(dead.body)}
            logger.warning(LogEvent("dead_letter_stored", "A dead letter of the broker is stored.", **fields))

        consumer = Consumer(
            channel, [queue(channel)], on_message=on_message, auto_declare=False, on_decode_error=on_message
        )
        consumer.consume()


def drain(keep: Keep) -> type[Drain]:
    """A worker bootstep that passes each dead message to ``keep``, and acknowledges it when that returns.

    After a crash or an exception, ``keep`` receives the same message again.
    """
    return type("Drain", (Drain,), {"keep": staticmethod(keep)})


def dead_message(message: Any, queue: str) -> DeadMessage:
    """Convert a message from the dead-letter queue of ``queue``, which may have any content."""
    properties = {k: v for k, v in (message.properties or {}).items() if k != "application_headers"}
    properties |= {
        "content_type": message.content_type,
        "routing_key": (message.delivery_info or {}).get("routing_key"),
    }
    return DeadMessage(queue, raw_body(message), dict(message.headers or {}), properties)
