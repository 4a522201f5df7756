"""Publish the envelopes of a claim together, then wait for all confirms."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import Any

import amqp
from kombu import Connection, Producer

from ordersaga.celery.message_verification import CONTENT_TYPE
from ordersaga.celery.topology import SIGNALS, declare
from ordersaga.choreography import Choreography
from ordersaga.claim import OutgoingEnvelope, RejectedEnvelope
from ordersaga.errors import PublishFailed
from ordersaga.log import LogEvent, safe_message
from ordersaga.signing import Keyring

logger = logging.getLogger(__name__)

CONFIRM_SECONDS = 10.0
"""Seconds for the confirms of envelopes that were published together."""
RETRY_SECONDS = 1.0
"""Seconds for the confirm of a routing key that was rejected before; the others wait for it."""
OPEN_SECONDS = 15.0
"""Seconds for connecting and declaring."""
CALL_SECONDS = 5.0
"""Seconds for any other response of the broker, and for a write."""
CHECK_EVERY = 5.0
"""Seconds between two checks of an idle connection."""
BLOCKED = "the broker takes no messages: a memory or disk alarm"

_NOT_ANSWERED: tuple[type[Exception], ...] = (OSError, amqp.ConnectionError)


class Publisher:
    """Publishes on a separate connection, and reconnects after an error. Not thread-safe."""

    def __init__(self, connection: Connection, choreography: Choreography, keyring: Keyring) -> None:
        self._template, self._choreography, self._keyring = connection, choreography, keyring
        self._connection: Any = None
        self._amqp: Any = None  # py-amqp's connection, because kombu's reconnects silently
        self._query_channel: Any = None
        self._channel: Any = None
        self._producer: Any = None
        self._stale = False
        self._checked = 0.0

    def open(self) -> None:
        """Connect and declare the topology once, within a limited time.

        :raises PublishFailed: while the broker accepts no messages because of an alarm.
        :raises Exception: of connecting and declaring.
        """
        if self._blocked and self._check_blocked():
            raise PublishFailed(BLOCKED)
        if self._connection is not None:
            return
        connection = self._template.clone(heartbeat=0)  # the relay may be busy for longer; TCP notices
        try:
            self._connection, self._stale = connection, False
            established = connection.connect()
            if self._over_amqp:
                self._amqp = established
                with established.within(OPEN_SECONDS):
                    declare(connection, self._choreography)
                    self._query_channel = connection.channel()
                    self._channel = _ConfirmChannel(established)
            else:
                declare(connection, self._choreography)
                self._query_channel = connection.channel()
                self._producer = Producer(connection)
            self._checked = time.monotonic()
        except BaseException:
            self.close()
            raise

    def __call__(self, envelopes: Sequence[OutgoingEnvelope]) -> list[RejectedEnvelope]:
        """Publish, wait for the confirms, and return the rejected envelopes.

        :raises PublishFailed: when the connection was lost, or the broker does not respond.
        """
        self.open()
        try:
            rejected = (
                self._publish_without_confirms(envelopes)
                if self._channel is None
                else self._publish_with_confirms(envelopes)
            )
        except _Unconfirmed as error:
            if not self._blocked:
                self.close()
            left = {envelope.id for envelope in error.envelopes} | {
                each.envelope.id for each in error.rejected
            }
            confirmed = [envelope for envelope in envelopes if envelope.id not in left]
            raise PublishFailed(error.fault, confirmed, error.rejected) from error.__cause__
        except BaseException:
            self.close()
            raise
        if self._stale:
            self.close()
        return rejected

    def queue_depth(self) -> int:
        """The number of messages in the fullest queue of a participant with steps; 0 if it is unknown."""
        return max((messages for messages, _ in self._queues()), default=0)

    def has_unconsumed_queue(self) -> bool:
        """Whether messages wait in a queue of a participant with steps that has no consumer.

        False if this is unknown, as on the embedded broker.
        """
        return self._over_amqp and any(messages and not consumers for messages, consumers in self._queues())

    def _queues(self) -> list[tuple[int, int]]:
        """Messages and consumers of each queue of a participant with steps; empty if unknown."""
        try:
            self.open()
            workers = [p for p in self._choreography.participants.values() if p.steps]
            with self._amqp.within(CALL_SECONDS) if self._amqp is not None else nullcontext():
                found = [self._query_channel.queue_declare(queue=p.name, passive=True) for p in workers]
            return [(int(queue.message_count), int(queue.consumer_count)) for queue in found]
        except Exception as error:  # noqa: BLE001 - a broken connection fails the next publish
            sentence = "The broker does not report the lengths of its queues."
            logger.debug(LogEvent("queue_lengths_unknown", sentence, error=safe_message(error)))
            if not self._blocked:
                self.close()
            return []

    def check(self) -> None:
        """Drop a connection that the broker has closed; checks at most every :data:`CHECK_EVERY` seconds."""
        now = time.monotonic()
        if self._amqp is None or now - self._checked < CHECK_EVERY:
            return
        self._checked = now
        try:
            self._read_pending()
        except Exception as error:  # noqa: BLE001 - the next use connects again
            sentence = "The relay's connection to the broker is lost; the next use reconnects."
            logger.debug(LogEvent("broker_connection_lost", sentence, error=safe_message(error)))
            self.close()

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        connection = self._connection
        self._connection = self._amqp = self._query_channel = self._channel = self._producer = None
        if connection is not None:
            socket = getattr(connection._connection, "transport", None)
            if (
                socket is not None
            ):  # py-amqp: skip the close handshake, because a hanging broker never answers
                socket.close()
            with suppress(*connection.connection_errors, OSError):
                connection.release()

    @property
    def _over_amqp(self) -> bool:
        return bool(self._template.transport.driver_type == "amqp")

    @property
    def _blocked(self) -> bool:
        return self._amqp is not None and self._amqp.blocked is not None

    def _check_blocked(self) -> bool:
        """Check whether the alarm continues; if not, close the connection, whose messages may be lost."""
        with suppress(*_NOT_ANSWERED):
            self._read_pending()
            if self._blocked:
                return True
        self.close()
        return False

    def _read_pending(self) -> None:
        """Process pending frames of the broker."""
        if self._amqp is not None:
            with suppress(TimeoutError):
                while True:
                    self._amqp.drain_events(timeout=0)

    # -- RabbitMQ

    def _publish_with_confirms(self, envelopes: Sequence[OutgoingEnvelope]) -> list[RejectedEnvelope]:
        rejected = self._publish_batch(
            [envelope for envelope in envelopes if not envelope.retries_routing_key], CONFIRM_SECONDS
        )
        # a hanging queue blocks its channel, so routing keys that were rejected before get separate channels
        return self._publish_by_routing_key(
            [envelope for envelope in envelopes if envelope.retries_routing_key], rejected
        )

    def _publish_by_routing_key(
        self, envelopes: Sequence[OutgoingEnvelope], rejected: list[RejectedEnvelope]
    ) -> list[RejectedEnvelope]:
        """Publish the envelopes of each routing key separately, with a short limit; return all rejected."""
        groups: defaultdict[str, list[OutgoingEnvelope]] = defaultdict(list)
        for envelope in envelopes:
            groups[envelope.routing_key].append(envelope)
        rest = list(groups.values())
        until = time.monotonic() + CONFIRM_SECONDS
        while rest:
            group = rest.pop(0)
            try:
                if time.monotonic() > until:
                    rejected += _reject_unconfirmed(group)
                    continue
                self._renew_channel()
                rejected += self._publish_batch(group, RETRY_SECONDS)
            except _NOT_ANSWERED as error:
                left = [envelope for each in (group, *rest) for envelope in each]
                raise _Unconfirmed(safe_message(error), left, rejected) from error
            except _Unconfirmed as error:
                left = [*error.envelopes, *(envelope for each in rest for envelope in each)]
                raise _Unconfirmed(error.fault, left, [*rejected, *error.rejected]) from error
        return rejected

    def _publish_batch(self, envelopes: Sequence[OutgoingEnvelope], seconds: float) -> list[RejectedEnvelope]:
        """Publish all, then wait for their confirms."""
        channel: _ConfirmChannel = self._channel
        rejected: list[RejectedEnvelope] = []
        try:
            for envelope in envelopes:
                rejected += self._send(channel, envelope)
            self._await_confirms(channel, seconds)
        except amqp.ChannelError as error:
            rejected += channel.take_rejected()
            return [*rejected, *self._publish_one_by_one(channel.take_unconfirmed(), error, rejected)]
        except TimeoutError:
            rejected += channel.take_rejected()
            return self._handle_missing_confirms(channel.take_unconfirmed(), rejected)
        except _NOT_ANSWERED as error:
            raise _Unconfirmed(
                safe_message(error), channel.take_unconfirmed(), [*rejected, *channel.take_rejected()]
            ) from error
        return [*rejected, *channel.take_rejected()]

    def _await_confirms(self, channel: _ConfirmChannel, seconds: float) -> None:
        """Wait until the broker has confirmed or rejected all.

        :raises TimeoutError: after ``seconds``.
        """
        until = time.monotonic() + seconds
        while channel.pending:
            if self._blocked:
                raise _Unconfirmed(BLOCKED, channel.take_unconfirmed(), channel.take_rejected())
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            with suppress(TimeoutError):
                self._amqp.drain_events(timeout=min(left, 1.0))

    def _handle_missing_confirms(
        self, envelopes: Sequence[OutgoingEnvelope], rejected: list[RejectedEnvelope]
    ) -> list[RejectedEnvelope]:
        """Handle missing confirms: a queue is not available, or it hangs and delays other envelopes."""
        try:
            self._renew_channel()
        except (*_NOT_ANSWERED, amqp.ChannelError) as error:
            raise _Unconfirmed("the broker does not answer", envelopes, rejected) from error
        if len({envelope.routing_key for envelope in envelopes}) == 1:
            return [*rejected, *_reject_unconfirmed(envelopes)]
        return self._publish_by_routing_key(envelopes, rejected)

    def _publish_one_by_one(
        self,
        envelopes: Sequence[OutgoingEnvelope],
        error: amqp.ChannelError,
        rejected: Sequence[RejectedEnvelope],
    ) -> list[RejectedEnvelope]:
        """After the broker closed the channel because of one envelope, find it and publish the others."""
        found: list[RejectedEnvelope] = []
        sentence = "The broker closed the channel because of one envelope; each is published alone."
        fields = {"fault": safe_message(error), "envelopes": len(envelopes)}
        logger.warning(LogEvent("channel_closed", sentence, **fields))
        for n, envelope in enumerate(envelopes):
            before = [*rejected, *found]
            try:
                channel = self._renew_channel()
                found += self._send(channel, envelope)
                self._await_confirms(channel, RETRY_SECONDS)
            except amqp.ChannelError as closed:
                if closed.reply_code == amqp.NotFound.code:  # the exchange was deleted: declare again
                    raise _Unconfirmed(safe_message(closed), envelopes[n:], before) from closed
                found.append(
                    RejectedEnvelope(
                        envelope, f"the broker closes the channel: {safe_message(closed)}", by_queue=False
                    )
                )
            except TimeoutError:
                found += _reject_unconfirmed([envelope])
            except _Unconfirmed as failed:
                raise _Unconfirmed(failed.fault, envelopes[n:], before) from failed
            except _NOT_ANSWERED as lost:
                raise _Unconfirmed(safe_message(lost), envelopes[n:], before) from lost
            else:
                found += channel.take_rejected()
        return found

    def _renew_channel(self) -> _ConfirmChannel:
        """Open another channel. The old one stays open, because a hanging queue would delay its close."""
        self._stale = True
        with self._amqp.within(CALL_SECONDS):
            self._channel = channel = _ConfirmChannel(self._amqp)
        return channel

    def _send(self, channel: _ConfirmChannel, envelope: OutgoingEnvelope) -> list[RejectedEnvelope]:
        """Write one envelope; return it as rejected if it cannot be encoded."""
        try:
            message = amqp.Message(
                envelope.body, application_headers=self._headers(envelope), **_properties(envelope)
            )
            channel.publish(envelope, message)
        except (ValueError, TypeError) as error:
            channel.forget(envelope)
            return [
                RejectedEnvelope(envelope, f"it cannot be encoded: {safe_message(error)}", by_queue=False)
            ]
        return []

    # -- the embedded broker

    def _publish_without_confirms(self, envelopes: Sequence[OutgoingEnvelope]) -> list[RejectedEnvelope]:
        """Publish with one statement for each envelope, which confirms it."""
        rejected: list[RejectedEnvelope] = []
        lost = (*self._connection.connection_errors, *self._connection.channel_errors)
        for n, envelope in enumerate(envelopes):
            try:
                self._producer.publish(
                    envelope.body,
                    exchange=SIGNALS.name,
                    routing_key=envelope.routing_key,
                    headers=self._headers(envelope),
                    **_properties(envelope),
                )
            except lost as error:
                raise _Unconfirmed(safe_message(error), envelopes[n:], rejected) from error
            except Exception as error:  # noqa: BLE001 - the connection works, so the envelope is faulty
                rejected.append(
                    RejectedEnvelope(
                        envelope, f"the broker does not take it: {safe_message(error)}", by_queue=False
                    )
                )
        return rejected

    def _headers(self, envelope: OutgoingEnvelope) -> dict[str, Any]:
        signature = self._keyring.sign(envelope.id, envelope.topic, envelope.signals, envelope.body)
        return {
            "task": envelope.topic,
            "id": envelope.id,
            "ordersaga-signals": envelope.signals,
            "ordersaga-signature": signature,
        }


def _reject_unconfirmed(envelopes: Sequence[OutgoingEnvelope]) -> list[RejectedEnvelope]:
    return [
        RejectedEnvelope(envelope, "its queues did not confirm in time", by_queue=True)
        for envelope in envelopes
    ]


def _properties(envelope: OutgoingEnvelope) -> dict[str, Any]:
    return {
        "content_type": CONTENT_TYPE,
        "content_encoding": "binary",
        "delivery_mode": 2,
        "message_id": envelope.id,
        "correlation_id": envelope.id,
    }


class _Unconfirmed(Exception):
    """The broker does not respond; these envelopes may or may not have arrived."""

    def __init__(
        self, fault: str, envelopes: Sequence[OutgoingEnvelope], rejected: Sequence[RejectedEnvelope]
    ) -> None:
        super().__init__(fault)
        self.fault, self.envelopes, self.rejected = fault, envelopes, rejected


class _ConfirmChannel:
    """A channel in confirm mode with the unconfirmed envelopes."""

    def __init__(self, connection: amqp.Connection) -> None:
        self._channel = connection.channel()
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._acked)
        self._channel.events["basic_nack"].add(self._nacked)
        self._tag = 0
        self.pending: dict[int, OutgoingEnvelope] = {}
        self._nacks: list[OutgoingEnvelope] = []

    def publish(self, envelope: OutgoingEnvelope, message: amqp.Message) -> None:
        """Send without waiting for the confirm."""
        self.pending[self._tag + 1] = envelope
        self._channel.basic_publish(
            message, exchange=SIGNALS.name, routing_key=envelope.routing_key, timeout=CALL_SECONDS
        )
        self._tag += 1

    def forget(self, envelope: OutgoingEnvelope) -> None:
        """Remove an envelope that was not sent."""
        self.pending = {tag: each for tag, each in self.pending.items() if each is not envelope}

    def take_rejected(self) -> list[RejectedEnvelope]:
        """The envelopes that the broker rejected since the last call."""
        nacks, self._nacks = self._nacks, []
        return [
            RejectedEnvelope(envelope, "a queue does not take it: it is full or not available", by_queue=True)
            for envelope in nacks
        ]

    def take_unconfirmed(self) -> list[OutgoingEnvelope]:
        """Remove and return the envelopes that are neither confirmed nor rejected."""
        pending, self.pending = self.pending, {}
        return list(pending.values())

    def _acked(self, tag: int, multiple: bool) -> None:
        self._remove(tag, multiple)

    def _nacked(self, tag: int, multiple: bool) -> None:
        self._nacks += self._remove(tag, multiple)

    def _remove(self, tag: int, multiple: bool) -> list[OutgoingEnvelope]:
        tags = [each for each in self.pending if each <= tag] if multiple else [tag]
        return [self.pending.pop(each) for each in tags if each in self.pending]
