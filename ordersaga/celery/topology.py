"""Exchanges and queues, the same on RabbitMQ and on the embedded broker.

Every pool declares all of it before its relay publishes, so that no signal is sent while a listener's queue is missing.
"""

from __future__ import annotations

from collections.abc import Iterator

from kombu import Connection, Exchange, Queue, binding

from ordersaga.choreography import Choreography
from ordersaga.participant import Participant

DELIVERY_LIMIT = 10
"""A message redelivered more often dies into the dead letters; every stop of a worker counts as one."""
QUEUE_BYTES = 2 * 1024**3
"""A queue that holds so much refuses more, and the outbox keeps it."""

UNHEARD = Exchange("ordersaga.unheard", type="fanout", durable=True)
SIGNALS = Exchange("ordersaga", type="topic", durable=True, arguments={"alternate-exchange": UNHEARD.name})
DEAD = Exchange("ordersaga.dead", type="direct", durable=True)
QUORUM = {"x-queue-type": "quorum"}


def queue_of(participant: Participant, choreography: Choreography) -> Queue:
    """The one queue of a participant, bound to all that it hears."""
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


def dead_queue_of(participant: Participant) -> Queue:
    """Where the messages die that a participant could not read, or that killed its workers."""
    return Queue(f"{participant.name}.dead", DEAD, routing_key=participant.name, durable=True, queue_arguments=QUORUM)


def unheard_queue() -> Queue:
    """Where signals end that no queue is bound to."""
    return Queue(UNHEARD.name, UNHEARD, durable=True, queue_arguments=QUORUM)


def queues(choreography: Choreography) -> Iterator[Queue]:
    """All queues: dead letters first, so that nothing dies before it has where to go."""
    yield unheard_queue()
    for participant in choreography.participants.values():
        yield dead_queue_of(participant)
    for participant in choreography.participants.values():
        yield queue_of(participant, choreography)


def declare(connection: Connection, choreography: Choreography) -> None:
    """Declare everything; safe to repeat and from many processes at once."""
    with connection.channel() as channel:
        for exchange in (UNHEARD, SIGNALS, DEAD):
            exchange(channel).declare()
        for queue in queues(choreography):
            queue(channel).declare()
