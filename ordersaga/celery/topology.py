"""Exchanges and queues, the same on RabbitMQ and on the embedded broker.

Every pool declares all of them before its relay publishes, so that no signal is published while a consumer's
queue is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import amqp
from celery.utils.log import get_logger
from kombu import Connection, Exchange, Queue, binding

from ordersaga.choreography import Choreography
from ordersaga.errors import OtherSaga
from ordersaga.log import LogEvent
from ordersaga.log_throttle import LogThrottle
from ordersaga.participant import Participant

logger = get_logger(__name__)
_differences = LogThrottle(every=600)

DELIVERY_LIMIT = 10
"""A message with more redeliveries becomes a dead letter; each stop of a worker counts."""
UNLIMITED = 1_000_000_000
"""The delivery limit of queues that must not drop a message. RabbitMQ 4.0 and newer default to 20, and -1
means no limit there; with -1, version 3.10 drops a message at its first return.
"""
QUEUE_BYTES = 2 * 1024**3
"""A queue of this size refuses further messages, and the outbox keeps them."""

UNHEARD = Exchange("ordersaga.unheard", type="fanout", durable=True)
SIGNALS = Exchange("ordersaga", type="topic", durable=True, arguments={"alternate-exchange": UNHEARD.name})
DEAD = Exchange("ordersaga.dead", type="direct", durable=True)
KIND = "ordersaga.kind"
"""An exchange without messages, whose alternate exchange names the saga of this virtual host. The broker
refuses another declaration, so that two kinds of saga never receive each other's signals.
"""
DEAD_SUFFIX = ".dead"
QUORUM = {"x-queue-type": "quorum"}
STRUCTURE = (None, "x-queue-type", "durable", "exclusive", "auto_delete")
"""Properties in which a queue may not differ."""
KEEPING = {**QUORUM, "x-delivery-limit": UNLIMITED}
"""Arguments of queues that must not drop messages; they behave the same on RabbitMQ 3.10, 4.0 and 4.3."""


def queue_of(participant: Participant, choreography: Choreography) -> Queue:
    """The queue of a participant, bound to all that it consumes."""
    return Queue(
        participant.name,
        bindings=[binding(SIGNALS, routing_key=key) for key in choreography.bindings(participant)],
        durable=True,
        queue_arguments={
            **QUORUM,
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-max-length-bytes": QUEUE_BYTES,
            "x-overflow": "reject-publish",
            "x-dead-letter-exchange": DEAD.name,
            "x-dead-letter-routing-key": participant.name,
            "x-dead-letter-strategy": "at-least-once",
        },
    )


def consumer_queue(participant: Participant, choreography: Choreography) -> Any:
    """The queue that Celery consumes; Celery does not declare it again, which the broker might refuse."""
    queue: Any = queue_of(participant, choreography)
    queue.no_declare = True
    return queue


def dead_queue_of(participant: Participant) -> Queue:
    """The dead-letter queue of a participant."""
    return Queue(
        f"{participant.name}{DEAD_SUFFIX}",
        DEAD,
        routing_key=participant.name,
        durable=True,
        queue_arguments=KEEPING,
    )


def unheard_queue() -> Queue:
    """The queue for messages that no other queue is bound to."""
    return Queue(UNHEARD.name, UNHEARD, durable=True, queue_arguments=KEEPING)


def queues(choreography: Choreography) -> Iterator[Queue]:
    """All queues; dead-letter queues first, because other queues refer to them."""
    yield unheard_queue()
    for participant in choreography.participants.values():
        yield dead_queue_of(participant)
    for participant in choreography.participants.values():
        yield queue_of(participant, choreography)


def declare(connection: Connection, choreography: Choreography) -> None:
    """Declare all exchanges and queues; idempotent, also from several processes at once.

    A queue with other arguments, such as those of another release, is bound and used as it is; this logs a
    warning.

    :raises OtherSaga: when the virtual host carries another kind of saga.
    :raises amqp.PreconditionFailed: when an exchange or a queue exists with another type.
    """
    declare_kind(connection, choreography)
    channel = connection.channel()
    try:
        for exchange in (UNHEARD, SIGNALS, DEAD):
            exchange(channel).declare()
        for queue in queues(choreography):
            try:
                queue(channel).declare()
            except amqp.PreconditionFailed as refused:  # the broker has closed the channel
                differs = difference(refused)
                if differs in STRUCTURE:
                    raise
                if _differences.due(queue.name):
                    sentence = "The queue exists with other arguments and is used as it is."
                    fields = {"queue": queue.name, "argument": differs}
                    logger.warning(LogEvent("queue_arguments_differ", sentence, **fields))
                channel = connection.channel()
                bind(queue(channel))
    finally:
        channel.close()


def kind_of(choreography: Choreography) -> Exchange:
    """The exchange that names the saga of a virtual host."""
    return Exchange(
        KIND, type="direct", durable=True, arguments={"alternate-exchange": choreography.saga.name}
    )


def declare_kind(connection: Connection, choreography: Choreography) -> None:
    """Declare the saga of the virtual host; :func:`declare` calls this first.

    :raises OtherSaga: when it is another one.
    """
    channel = connection.channel()
    try:
        kind_of(choreography)(channel).declare()
    except amqp.ChannelError as refused:
        if difference(refused) != "alternate-exchange":
            raise
        other = re.search(r"current is (?:the value )?'(.*?)'", refused.reply_text or "")
        raise OtherSaga(choreography.saga.name, other[1] if other else "another kind") from refused
    finally:
        channel.close()


def difference(refused: amqp.ChannelError) -> str | None:
    """The argument that made the broker refuse a declaration; None for another reason."""
    found = re.search(r"inequivalent arg '([\w-]+)'", refused.reply_text or "")
    return found[1] if found else None


def bind(queue: Any) -> None:
    """Create the bindings of an existing queue; the object must be bound to a channel."""
    if queue.exchange is not None and queue.exchange.name:
        queue.queue_bind()
    for each in queue.bindings:
        each.bind(queue, channel=queue.channel)


def bindings_of(queue: Any) -> set[tuple[str, str]]:
    """Exchange and key of each declared binding of a queue."""
    bound = {(b.exchange.name, b.routing_key or "") for b in queue.bindings}
    if queue.exchange is not None and queue.exchange.name:
        bound.add((queue.exchange.name, queue.routing_key or ""))
    return bound
