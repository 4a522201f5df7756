"""The relay publishes an outbox: claim due rows, build envelopes, publish with confirms, commit.

A crash between a confirm and the commit publishes an envelope twice; the journal discards the duplicate. The
commit that removes confirmed rows postpones those that the broker rejected.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg2

from ordersaga import sessions
from ordersaga.choreography import Choreography
from ordersaga.claim import (
    CLAIM_BYTES,
    CLAIM_ROWS,
    OutboxRow,
    OutgoingEnvelope,
    RejectedEnvelope,
    claim,
    routing_key_of,
)
from ordersaga.envelope import FULL_SIGNALS
from ordersaga.errors import PublishFailed
from ordersaga.leaky_bucket import LeakyBucket
from ordersaga.log import LogEvent
from ordersaga.outbox import NOTICE, WATCHDOG
from ordersaga.put_back import ROW_CAP, PutBack
from ordersaga.routing_key_backoff import RoutingKeyBackoff
from ordersaga.scan_bound import Poll, ScanBound
from ordersaga.sql import outbox as outbox_sql

logger = logging.getLogger(__name__)

OF_OBSERVERS = {NOTICE, routing_key_of("", outbox_sql.OBSERVERS)}
"""Routing keys whose messages do not block a saga."""
LINGER = timedelta(milliseconds=100)
"""How long a relay waits for more rows while many arrive."""


Publish = Callable[[Sequence[OutgoingEnvelope]], Sequence[RejectedEnvelope] | None]
"""Publishes envelopes, waits for the broker's confirms and returns the rejected envelopes.

Raises :class:`PublishFailed` if some envelopes are neither confirmed nor rejected. After any other error, no
envelope counts as published.
"""


class Relay:
    """Publishes one participant's outbox until it is stopped. Several relays may share an outbox."""

    MAX_IDLE_SECONDS = 0.25
    """Seconds between two polls of the outbox without a NOTIFY."""
    REPOLL_DELAYS = (0.003, 0.012)
    """Seconds between polls after a round: a writer that saw a due row sent no NOTIFY and may commit now."""
    QUEUED_LINGER = 0.05
    MAX_LINGER = 1.0
    """Seconds of linger for each envelope in the fullest queue, and the largest linger."""
    BURST, STREAM = 6, 60.0
    """The leaky bucket that detects a stream: packs that may follow each other, and packs a second.

    Twenty orders a second are forty packs in the initiator's outbox, and none of them waits.
    """
    BACKLOG_THRESHOLD = 2
    """The number of envelopes in a queue from which batching pays even without a stream."""
    MAX_HELD_REMINDERS = 3
    """How often in a row a reminder is held while messages wait in a consumed queue.

    The watchdog's intervals double, so that by default a reminder is sent after three and a half minutes,
    even if a queue is never empty.
    """
    STALLED_AFTER = 60.0
    """Seconds without progress after which a queue counts as not consumed, although it has consumers: their
    database may be unavailable.
    """
    QUEUE_DEPTH_TTL = 0.1
    """Seconds for which the depth of the queues is cached; the query costs as much as a few publishes."""

    def __init__(
        self,
        dsn: str,
        participant: str,
        publish: Publish,
        *,
        choreography: Choreography | None = None,
        linger: timedelta = LINGER,
        queue_depth: Callable[[], int] = lambda: 0,
        has_unconsumed_queue: Callable[[], bool] = lambda: False,
        on_round: Callable[[], None] = lambda: None,
        connect: Callable[[], None] = lambda: None,
    ) -> None:
        """:param choreography: with its observers, which receive copies; None: no observers.
        :param linger: how long to wait after an envelope that was not full, so that the next contains more.
            It applies only in a stream; single signals are published at once.
        :param queue_depth: the number of envelopes in the fullest queue of a participant with steps. The more
            there are, the longer the linger, because rows that wait in the outbox still join one envelope.
        :param has_unconsumed_queue: whether messages wait in a queue of such a participant without consumers.
        :param on_round: called after each round, also after an empty one.
        :param connect: called before each claim; connects to the broker or raises, so that claimed rows are
            not held during a slow connect.
        """
        self._dsn, self._participant, self._publish, self._choreography = (
            dsn,
            participant,
            publish,
            choreography,
        )
        self._linger = linger.total_seconds()
        self._query_queue_depth, self._has_unconsumed_queue = queue_depth, has_unconsumed_queue
        self._on_round, self._connect_broker = on_round, connect
        self._connection: Any = None
        self._queued, self._query_at = 0, 0.0
        self._shrank_at = float("-inf")  # when the fullest queue last became shorter
        self._idle = self._poll_at = 0.0
        self._bound, self._backoff = ScanBound(), RoutingKeyBackoff()
        self._unpublishable: dict[int, tuple[str, float]] = {}
        self._limit, self._claimed = CLAIM_ROWS, 0
        self._bucket = LeakyBucket(self.STREAM, self.BURST)
        self._stop = threading.Event()

    def run(self, on_error: Callable[[Exception, float], None]) -> None:
        """Publish until :meth:`stop`.

        :param on_error: called after an error, with the seconds until the next try.
        """
        wait = 0.1
        while not self._stop.is_set():
            try:
                self._serve()
                wait = 0.1
            except Exception as error:  # noqa: BLE001 - reported and retried
                self.close()
                if self._stop.is_set():
                    return
                on_error(error, wait)
                self._stop.wait(wait)
                wait = min(wait * 2, 5.0)
        self.close()

    def stop(self) -> None:
        """Ask :meth:`run` to return after the round under way."""
        self._stop.set()

    def drain(self) -> int:
        """Run one round: claim, publish, commit; return the number of published signals.

        :raises Exception: of the broker or the database; the claimed rows stay in the outbox.
        """
        return sum(envelope.signals for envelope in self._round())

    def close(self) -> None:
        """Close the relay's connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def problem(self) -> str:
        """Why some rows cannot be published although others can; empty if all can."""
        now = time.monotonic()
        self._unpublishable = {row: found for row, found in self._unpublishable.items() if found[1] > now}
        problems = [
            f"{routing_key} is refused: {fault}"
            for routing_key, fault in sorted(self._backoff.refusing.items())[:3]
        ]
        problems += [
            f"outbox row {row} cannot be published: {fault}"
            for row, (fault, _) in sorted(self._unpublishable.items())[:3]
        ]
        return "; ".join(problems)

    def _round(self) -> list[OutgoingEnvelope]:
        self._connect_broker()
        try:
            connection = self._connect()
            connection.notifies.clear()  # the claim sees the rows of these notifications
            failed: PublishFailed | None = None
            with connection.cursor() as cursor:
                claimed = claim(
                    cursor,
                    self._participant,
                    self._choreography,
                    statement=outbox_sql.CLAIM_PREPARED,
                    since=self._bound.since,
                    limit=self._limit,
                    holds=self._must_hold,
                )
                ready, deferred = self._backoff.partition(claimed.envelopes)
                rejected = list(claimed.rejected)
                accepted: Sequence[OutgoingEnvelope] = ()
                if ready:
                    try:
                        rejected += self._publish(ready) or ()
                        accepted = _without(ready, [each.envelope for each in rejected])
                    except PublishFailed as error:
                        if not error.confirmed and not error.rejected:
                            raise
                        failed, accepted = error, error.confirmed
                        rejected += error.rejected
                unconfirmed = _without(ready, [*accepted, *(each.envelope for each in rejected)])
                if rejected or deferred or unconfirmed:
                    self._put_back(cursor, rejected, deferred, unconfirmed)
                for routing_key in self._backoff.record_accepted(each.routing_key for each in accepted):
                    self._release(cursor, routing_key)
                self._forget(accepted)
                cursor.execute(outbox_sql.COMMIT, self._poll_values())
                self._record_poll(cursor.fetchone())
        except BaseException:
            self.close()  # this releases the claimed rows
            raise
        self._claimed = claimed.rows
        # a claim that its byte limit ended has also locked the next rows, so the next asks for fewer rows
        self._limit = max(2 * claimed.rows, 1) if claimed.size >= CLAIM_BYTES else CLAIM_ROWS
        if failed is not None:
            raise failed
        return list(accepted)

    def _put_back(
        self,
        cursor: Any,
        rejected: Sequence[RejectedEnvelope],
        deferred: Sequence[OutgoingEnvelope],
        unconfirmed: Sequence[OutgoingEnvelope],
    ) -> None:
        """Put unpublished rows back: later if they were rejected, otherwise unchanged."""
        back = PutBack()
        back.unchanged(unconfirmed)
        for envelope in deferred:
            back.park(envelope.rows, RoutingKeyBackoff.PARKED, self._backoff.fault(envelope.routing_key))
        for each in rejected:
            if not each.by_queue:
                later = back.unpublishable(each)
                if len(each.envelope.rows) == 1:
                    self._note_unpublishable(each.envelope.rows[0], each.fault, later)
        faults = {each.envelope.routing_key: each.fault for each in rejected if each.by_queue}
        for routing_key, fault in faults.items():
            envelopes = [each.envelope for each in rejected if each.envelope.routing_key == routing_key]
            rows = [row for envelope in envelopes for row in envelope.rows]
            later = self._record_refusal(routing_key, fault)
            if rows:
                back.retry_routing_key(rows[0], later + 0.1, fault)
            back.park(rows, RoutingKeyBackoff.PARKED, fault)
        back.write(cursor, self._participant)
        for routing_key, fault in faults.items():
            values = {
                "participant": self._participant,
                "routing_key": routing_key,
                "fault": fault,
                "later": RoutingKeyBackoff.PARKED,
            }
            cursor.execute(outbox_sql.PARK, {**values, "since": self._bound.since, "rows": 10 * CLAIM_ROWS})

    def _record_refusal(self, routing_key: str, fault: str) -> float:
        """Record that a queue refuses; return the seconds until its routing key is tried again."""
        new = routing_key not in self._backoff.refusing
        later = self._backoff.record_refusal(routing_key, fault)
        if new:
            sentence = "The queues of a routing key do not accept envelopes; the outbox keeps them."
            fields = {"address": routing_key[:80], "fault": fault, "wait": later}
            logger.warning(LogEvent("address_refused", sentence, **fields))
        return later

    def _note_unpublishable(self, row: OutboxRow, fault: str, later: float) -> None:
        if row.id not in self._unpublishable:
            routing_key = routing_key_of(row.topic, row.recipient)[:80]
            sentence = "An outbox row cannot be published; it is retried alone."
            fields = {"row": row.id, "address": routing_key, "fault": fault}
            logger.error(LogEvent("outbox_row_refused", sentence, **fields))
        self._unpublishable[row.id] = (fault, time.monotonic() + later + 2 * ROW_CAP)

    def _forget(self, accepted: Sequence[OutgoingEnvelope]) -> None:
        if self._unpublishable:
            for envelope in accepted:
                for row in envelope.rows:
                    self._unpublishable.pop(row.id, None)

    def _release(self, cursor: Any, routing_key: str) -> None:
        """Make postponed rows of a routing key that is accepted again due, as many as one claim takes."""
        cursor.execute(
            outbox_sql.RELEASE,
            {"participant": self._participant, "routing_key": routing_key, "rows": CLAIM_ROWS},
        )
        if not cursor.rowcount:
            self._backoff.forget(routing_key)
            sentence = "The queues of a routing key accept envelopes again."
            logger.info(LogEvent("address_recovered", sentence, address=routing_key))

    def _serve(self) -> None:
        polls: Iterator[float] = iter(())
        lingered, due = False, self._due()
        while not self._stop.is_set():
            sent = self._round() if due else []
            self._on_round()
            # rows that are due but were not claimed are locked by another relay
            due = due and self._claimed > 0 and self._idle == 0.0
            if sent:
                polls = iter(self.REPOLL_DELAYS)
                if self._decide_linger(sent):
                    self._stop.wait(self._long_linger() if lingered else self._linger)
                    lingered = due = True
            elif (poll := next(polls, None)) is not None:
                lingered = False  # no row arrived during the wait, so a longer wait would not help
                self._stop.wait(poll)
                due = self._due()
            else:
                due = self._sleep()

    def _due(self) -> bool:
        """Poll whether a row is due; if not, record for how long :meth:`_sleep` waits."""
        with self._connect().cursor() as cursor:
            cursor.execute(outbox_sql.DUE, self._poll_values())
            self._record_poll(cursor.fetchone())
        return self._idle == 0.0

    def _poll_values(self) -> dict[str, object]:
        return {"participant": self._participant, "since": self._bound.since}

    def _record_poll(self, row: Sequence[Any]) -> None:
        """Record the result of a poll: when the first row is due."""
        poll = Poll(*row)
        if self._bound.record(poll):
            self._due()
            return
        # Sleep no longer: rows that fall due send no NOTIFY, nor do writers while a row is due.
        due_in = self.MAX_IDLE_SECONDS if poll.first is None else max(poll.first - poll.clock, 0.0)
        self._idle = min(due_in, self.MAX_IDLE_SECONDS)
        self._poll_at = time.monotonic() + (self._idle or self.MAX_IDLE_SECONDS)

    def _decide_linger(self, sent: Sequence[OutgoingEnvelope]) -> bool:
        """Add the published packs to the bucket, and decide whether it pays to wait for more rows.

        The bucket counts packs, not rounds, because the number of rounds decreases with their duration.
        """
        was_idle = self._bucket.empty
        self._bucket.pour(
            sum(
                envelope.packs
                for envelope in sent
                if envelope.recipient != outbox_sql.OBSERVERS and envelope.topic != NOTICE
            )
        )
        if not self._linger or sum(envelope.signals for envelope in sent) >= FULL_SIGNALS:
            return False
        return self._bucket.full or (not was_idle and self._cached_queue_depth() >= self.BACKLOG_THRESHOLD)

    def _must_hold(self, row: OutboxRow) -> bool:
        """Whether to hold a reminder, because a copy would only wait after messages that wait already.

        The claim has set its next time, after twice the interval.
        """
        if row.topic != WATCHDOG:
            return False
        if self._backoff.refusing.keys() - OF_OBSERVERS:
            return True
        if not self._cached_queue_depth():
            return False
        stalled = time.monotonic() - self._shrank_at > self.STALLED_AFTER
        return row.sent < self.MAX_HELD_REMINDERS or stalled or self._has_unconsumed_queue()

    def _long_linger(self) -> float:
        """Seconds to wait for more rows when the previous wait found some."""
        return max(self._linger, min(self._cached_queue_depth() * self.QUEUED_LINGER, self.MAX_LINGER))

    def _cached_queue_depth(self) -> int:
        """The number of envelopes in the fullest queue, cached for a moment."""
        if (now := time.monotonic()) >= self._query_at:
            before, self._queued, self._query_at = (
                self._queued,
                self._query_queue_depth(),
                now + self.QUEUE_DEPTH_TTL,
            )
            if self._queued < before:
                self._shrank_at = now
        return self._queued

    def _sleep(self) -> bool:
        """Wait for a NOTIFY or the next poll; return whether a row is due."""
        connection = self._connect()
        connection.poll()
        if not connection.notifies:
            select.select([connection], [], [], max(0.0, self._poll_at - time.monotonic()))
            connection.poll()
        notified = {notify.payload for notify in connection.notifies}
        connection.notifies.clear()
        # an earlier release sends an empty payload
        return not notified.isdisjoint({self._participant, ""}) or (
            time.monotonic() >= self._poll_at and self._due()
        )

    def _connect(self) -> Any:
        if self._connection is None:
            connection = sessions.connect(
                self._dsn, session_for="a relay", application_name=f"relay {self._participant}"
            )
            connection.autocommit = True
            try:
                with connection.cursor() as cursor:
                    cursor.execute(outbox_sql.PREPARE)
            except psycopg2.Error:
                connection.close()
                raise
            self._connection, self._bound = connection, ScanBound()
        return self._connection


def _without(
    envelopes: Sequence[OutgoingEnvelope], others: Sequence[OutgoingEnvelope]
) -> list[OutgoingEnvelope]:
    known = {envelope.id for envelope in others}
    return [envelope for envelope in envelopes if envelope.id not in known] if known else list(envelopes)
