"""Celery's consumer, which verifies every message; one that fails is rejected to the dead-letter queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import amqp
from celery.exceptions import WorkerShutdown
from celery.utils.log import get_logger
from celery.worker import consumer
from celery.worker.consumer.control import Control
from celery.worker.consumer.gossip import Gossip

from ordersaga.celery.amqp_heartbeats import Heartbeats
from ordersaga.celery.background import NoConnection
from ordersaga.celery.message_verification import raw_body, verify_and_build_headers
from ordersaga.celery.topology import declare
from ordersaga.celery.worker import CONSUMER
from ordersaga.envelope import digest
from ordersaga.errors import EnvelopeError, OtherSaga
from ordersaga.log import LogEvent, safe_message
from ordersaga.log_throttle import LogThrottle

logger = get_logger(__name__)

MAX_NUMBER = 2**53
"""The limit for numbers in Celery's messages. Celery adopts the largest clock that it receives, which must
fit into a header.
"""
COMMAND_FIELDS = frozenset({"method", "arguments", "destination", "pattern", "matcher", "ticket", "reply_to"})
EVENT_NUMBERS = ("clock", "timestamp", "utcoffset", "pid", "freq", "local_received")


class Consumer(consumer.Consumer):
    """Verifies every message before Celery handles it, and maps topics to the participant's tasks.

    It does not publish on its connection: during an alarm the broker stops reading from connections that
    publish, and would not read acknowledgements either.
    """

    class Blueprint(consumer.Consumer.Blueprint):
        """Without delayed delivery, because deadlines and retries are rows in PostgreSQL."""

        default_steps = [s for s in consumer.Consumer.Blueprint.default_steps if "delayed_delivery" not in s]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._throttle = LogThrottle()
        self._heartbeats: Heartbeats | None = None
        mailbox = self.app.control.mailbox
        mailbox._producer_pool = self.app.ordersaga.background
        vars(mailbox).pop("producer_pool", None)  # remove a cached value
        for step in self.steps:
            if isinstance(step, Gossip):
                self._guard_events(step)
            elif isinstance(step, Control):
                self._guard_commands(step.box)

    def connect(self) -> Any:
        """Connect with heartbeats in every kind of pool, and declare exchanges and queues."""
        if self.hub is not None or self.amqheartbeat:
            connection = super().connect()
        else:
            if self._heartbeats is not None:
                self._heartbeats.stop()
            connection = self.connection_for_read(heartbeat=self.app.conf.broker_heartbeat)
            self._heartbeats = Heartbeats(connection)
        try:
            self._declare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _declare(self, connection: Any) -> None:
        """Declare exchanges and queues, also those with the arguments of another release.

        Celery's own declaration ends the worker if a queue has other arguments.

        :raises WorkerShutdown: when the broker refuses, or the virtual host carries another kind of saga.
        """
        try:
            declare(connection, self.app.ordersaga.choreography)
        except OtherSaga as refused:
            sentence = "The virtual host carries another kind of saga; the worker stops."
            logger.critical(LogEvent("other_saga", sentence, error=str(refused)))
            raise WorkerShutdown(1) from refused
        except amqp.PreconditionFailed as refused:
            sentence = "The broker refuses an exchange or a queue; the worker stops. Run: manage.py doctor"
            logger.critical(LogEvent("broker_declaration_refused", sentence, error=safe_message(refused)))
            raise WorkerShutdown(1) from refused

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Any:
        """Replace the connection of Celery's event dispatcher, which uses the background publisher."""
        return NoConnection()

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        """Return the function that receives each message."""
        handle = super().create_task_handler(*args, **kwargs)
        worker_context = self.app.ordersaga

        def on_message(message: Any) -> Any:
            try:
                headers = verify_and_build_headers(message, worker_context.keyring, worker_context.tasks)
            except Exception as error:  # noqa: BLE001 - no message may end the process
                self._reject(message, error)
                return None
            message.headers = headers
            message.properties, message.content_encoding = {"correlation_id": headers["root_id"]}, "binary"
            if message.delivery_info is not None:
                message.delivery_info["routing_key"] = worker_context.participant.name
            return handle(message)

        return on_message

    def perform_pending_operations(self) -> None:
        """Celery calls this in each round of a pool without an event loop."""
        super().perform_pending_operations()
        if self._heartbeats is not None:
            self._heartbeats.check()
        if self.hub is None:
            self.app.ordersaga.report_alive(CONSUMER)

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Reject the message; Celery would acknowledge it and log its body."""
        self._reject(message, exc)

    def _reject(self, message: Any, error: Exception) -> None:
        if _needs_no_answer(message):
            self._drop("message", safe_message(error))
            return
        if not isinstance(error, EnvelopeError):
            error = EnvelopeError(
                f"cannot be decoded: {_shown(safe_message(error))}", digest(raw_body(message))
            )
        sentence = "The message cannot be accepted; it becomes a dead letter."
        logger.error(LogEvent("message_refused", sentence, error=str(error)))
        message.reject_log_error(logger, self.connection_errors)

    # -- Celery's own messages: other workers' events, and remote control

    def _guard_events(self, gossip: Gossip) -> None:
        """Drop malformed events, which would end the worker, and disable elections.

        The winner of an election would publish any task that the event names.
        """
        gossip.event_handlers.clear()
        get_consumers = gossip.get_consumers

        def guarded(channel: Any) -> Any:
            consumers = get_consumers(channel)
            for each in consumers:
                each.on_message = self._checked("event", event_fault, each.on_message)
                each.on_decode_error = self.on_decode_error
            return consumers

        gossip.get_consumers = guarded

    def _guard_commands(self, box: Any) -> None:
        """Drop malformed commands: Celery would reopen its channel for each, and adopt any clock."""
        handle, replies = box.on_message, self.app.control.mailbox.reply_exchange.name
        known = frozenset(box.node.handlers)

        def on_message(body: Any, message: Any) -> None:
            if fault := command_fault(body, message.headers, known, replies):
                self._drop("remote-control command", fault)
            else:
                handle(body, message)

        box.on_message = on_message

    def _checked(
        self, what: str, fault_of: Callable[[Any], str], handle: Callable[[Any], Any]
    ) -> Callable[[Any], Any]:
        def on_message(message: Any) -> Any:
            try:
                if fault := fault_of(message):
                    self._drop(what, fault)
                else:
                    return handle(message)
            except (*self.connection_errors, *self.channel_errors):
                raise
            except Exception as error:  # noqa: BLE001 - as above
                self._drop(what, safe_message(error))
            return None

        return on_message

    def _drop(self, what: str, fault: str) -> None:
        if self._throttle.due(f"{what} {fault.partition(':')[0]}"):  # the rest is untrusted text
            sentence = "A malformed message of Celery is dropped."
            logger.warning(LogEvent("celery_message_dropped", sentence, kind=what, fault=_shown(fault)))


def _shown(fault: str) -> str:
    """Make a fault with untrusted text printable and short."""
    return "".join(each if each.isprintable() else "?" for each in fault[:200])


def _needs_no_answer(message: Any) -> bool:
    """Whether its consumer does not acknowledge, so that rejecting the message would be a channel error."""
    tags = getattr(message.channel, "no_ack_consumers", None) or ()
    return (message.delivery_info or {}).get("consumer_tag") in tags


def event_fault(message: Any) -> str:
    """The fault of another worker's event, or an empty text."""
    event = message.payload
    if (
        not isinstance(event, dict)
        or not isinstance(event.get("type"), str)
        or not isinstance(event.get("hostname"), str)
    ):
        return "not an event"
    for name in EVENT_NUMBERS:
        if event.get(name) is not None and not _is_number(event[name]):
            return f"its {name} is not a number"
    return ""


def command_fault(body: Any, headers: Mapping[Any, Any], known: frozenset[str], replies: str) -> str:
    """The fault of a remote-control command, or an empty text.

    :param known: the existing commands.
    :param replies: the only exchange to which replies may be sent.
    """
    if not isinstance(body, dict) or not body.keys() <= COMMAND_FIELDS:
        return "not a command"
    if not isinstance(body.get("method"), str) or body["method"] not in known:
        return "no such command"
    arguments, destination = body.get("arguments") or {}, body.get("destination") or []
    if not isinstance(arguments, dict) or not isinstance(destination, list):
        return "its arguments or its destination have the wrong type"
    if not all(isinstance(body.get(name) or "", str) for name in ("pattern", "matcher", "ticket")):
        return "its pattern, matcher or ticket is not a text"
    reply_to = body.get("reply_to")
    if reply_to is not None:
        if not isinstance(reply_to, dict) or not isinstance(reply_to.get("routing_key"), str):
            return "its address for the reply has the wrong type"
        if reply_to.get("exchange") != replies:
            return "its reply would go to another exchange"
    clock = headers.get("clock") or 0
    return "" if _is_number(clock) else "its clock is not a number"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER
