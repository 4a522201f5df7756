"""From the outbox to the broker: claim what is due, pack it into envelopes, publish with confirms, commit.

A crash between a confirm and the commit publishes twice; the journal absorbs it. What the broker refuses is
put off in the commit that finishes what it has confirmed.
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
from ordersaga.address_backoff import AddressBackoff
from ordersaga.choreography import Choreography
from ordersaga.claim import CLAIM_BYTES, CLAIM_ROWS, OutboxRow, OutgoingEnvelope, Refused, address_of, claim
from ordersaga.envelope import FULL_SIGNALS
from ordersaga.errors import PublishFailed
from ordersaga.leaky_bucket import LeakyBucket
from ordersaga.log import LogEvent
from ordersaga.outbox import NOTICE, WATCHDOG
from ordersaga.put_back import ROW_CAP, PutBack
from ordersaga.scan_bound import Look, ScanBound
from ordersaga.sql import outbox as sql

logger = logging.getLogger(__name__)

OF_OBSERVERS = {NOTICE, address_of("", sql.OBSERVERS)}
"""Addresses that no saga waits for."""
LINGER = timedelta(milliseconds=100)
"""How long a relay waits for company in a stream, unless told otherwise."""


Publish = Callable[[Sequence[OutgoingEnvelope]], Sequence[Refused] | None]
"""Publishes envelopes and returns once the broker has confirmed all but those it gives back as refused.

Raises :class:`PublishFailed` for those that the broker has not settled, and anything else when none may count
as published.
"""


class Relay:
    """Carries one participant's outbox to the broker until it is stopped. Many may run on one outbox."""

    MAX_IDLE_SECONDS = 0.25
    """Seconds after which the outbox is looked at though nobody called."""
    REPOLL_DELAYS = (0.003, 0.012)
    """Seconds between looks after something was carried: who saw it still there did not call, and may commit
    only now.
    """
    QUEUED_LINGER = 0.05
    MAX_LINGER = 1.0
    """Seconds of linger for each envelope that waits in a queue, and at most."""
    BURST, STREAM = 6, 60.0
    """Packs that may follow one another at once, and packs a second that are a stream. Twenty orders a second
    are forty packs in their initiator's outbox, and none of them waits.
    """
    BACKLOG_THRESHOLD = 2
    """Envelopes that wait in a queue and show that its workers are behind, so that gathering pays though no
    stream comes.
    """
    MAX_HELD_REMINDERS = 3
    """How often in a row a reminder is not sent while messages wait in a queue that is consumed: the
    intervals of the watchdog double, so that by default it is sent after three and a half minutes though some
    queue is never empty.
    """
    STANDSTILL = 60.0
    """Seconds. A queue that has not become shorter for so long is not consumed, though it may have consumers:
    their database may be away.
    """
    QUEUE_DEPTH_TTL = 0.1
    """Seconds for which an answer of the broker's holds; asking for all queues costs as much as some
    publishes.
    """

    def __init__(
        self,
        dsn: str,
        participant: str,
        publish: Publish,
        *,
        choreography: Choreography | None = None,
        linger: timedelta = LINGER,
        waiting: Callable[[], int] = lambda: 0,
        unconsumed: Callable[[], bool] = lambda: False,
        turned: Callable[[], None] = lambda: None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """:param choreography: whose observers hear what is carried; None: nobody observes.
        :param linger: how long to wait after an envelope that was not full, so that the next one gathers
            more. Only in a stream: lone signals leave at once, and so do some that follow closely.
        :param waiting: how many envelopes wait in the fullest queue of those who work. The more there are,
            the longer the linger: what waits in the outbox still grows into one envelope, what waits in the
            broker never does.
        :param unconsumed: whether messages wait in a queue of those who work that nobody takes them from.
        :param turned: told after each round, be there something to carry or not.
        :param ready: called before each claim; connects to the broker and raises when it cannot, as nothing
            that may take long may happen while rows are claimed.
        """
        self._dsn, self._participant, self._publish, self._choreography = (
            dsn,
            participant,
            publish,
            choreography,
        )
        self._linger, self._waiting, self._turned, self._ready = (
            linger.total_seconds(),
            waiting,
            turned,
            ready,
        )
        self._unconsumed = unconsumed
        self._connection: Any = None
        self._queued, self._ask_again = 0, 0.0
        self._fell = float("-inf")  # when the fullest queue was last seen to become shorter
        self._idle = self._look = 0.0
        self._bound, self._backoff = ScanBound(), AddressBackoff()
        self._unpublishable: dict[int, tuple[str, float]] = {}
        self._limit, self._claimed = CLAIM_ROWS, 0
        self._bucket = LeakyBucket(self.STREAM, self.BURST)
        self._stop = threading.Event()

    def run(self, on_error: Callable[[Exception, float], None]) -> None:
        """Carry until :meth:`stop`; errors are told to ``on_error`` with the seconds until the next try, and
        tried again.
        """
        wait = 0.1
        while not self._stop.is_set():
            try:
                self._carry()
                wait = 0.1
            except Exception as error:  # noqa: BLE001 - told, and tried again: the outbox must be carried
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
        """One round: claim, publish, commit. Gives the number of signals sent.

        :raises Exception: whatever publishing or the database raises; nothing is lost, all is claimed again.
        """
        return sum(envelope.signals for envelope in self._round())

    def close(self) -> None:
        """Close the relay's connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def trouble(self) -> str:
        """What is in the way of some rows while others are carried; empty when nothing is."""
        now = time.monotonic()
        self._unpublishable = {row: found for row, found in self._unpublishable.items() if found[1] > now}
        words = [
            f"{address} is refused: {fault}" for address, fault in sorted(self._backoff.refusing.items())[:3]
        ]
        words += [
            f"outbox row {row} cannot be published: {fault}"
            for row, (fault, _) in sorted(self._unpublishable.items())[:3]
        ]
        return "; ".join(words)

    def _round(self) -> list[OutgoingEnvelope]:
        self._ready()
        try:
            connection = self._connect()
            connection.notifies.clear()  # whoever has called by now is seen
            failed: PublishFailed | None = None
            with connection.cursor() as cursor:
                claimed = claim(
                    cursor,
                    self._participant,
                    self._choreography,
                    statement=sql.CLAIM_PREPARED,
                    since=self._bound.since,
                    limit=self._limit,
                    holds=self._holds,
                )
                go, wait = self._backoff.sort(claimed.envelopes)
                refused = list(claimed.refused)
                taken: Sequence[OutgoingEnvelope] = ()
                if go:
                    try:
                        refused += self._publish(go) or ()
                        taken = _without(go, [each.envelope for each in refused])
                    except PublishFailed as error:
                        if not error.confirmed and not error.refused:
                            raise
                        failed, taken = error, error.confirmed
                        refused += error.refused
                unsettled = _without(go, [*taken, *(each.envelope for each in refused)])
                if refused or wait or unsettled:
                    self._put_back(cursor, refused, wait, unsettled)
                for address in self._backoff.taken(envelope.routing_key for envelope in taken):
                    self._release(cursor, address)
                self._forget(taken)
                cursor.execute(sql.COMMIT, self._looking())
                self._found(cursor.fetchone())
        except BaseException:
            self.close()  # and with it whatever was claimed
            raise
        self._claimed = claimed.rows
        # a claim that was cut off by its bytes has locked the rows behind, so the next one asks for fewer
        self._limit = max(2 * claimed.rows, 1) if claimed.size >= CLAIM_BYTES else CLAIM_ROWS
        if failed is not None:
            raise failed
        return list(taken)

    def _put_back(
        self,
        cursor: Any,
        refused: Sequence[Refused],
        wait: Sequence[OutgoingEnvelope],
        unsettled: Sequence[OutgoingEnvelope],
    ) -> None:
        """Owe again what was claimed and not published: later where it was refused, else as it was."""
        back = PutBack()
        back.unchanged(unsettled)
        for envelope in wait:
            back.parked(envelope.rows, AddressBackoff.PARKED, self._backoff.fault(envelope.routing_key))
        for each in refused:
            if not each.address:
                later = back.unpublishable(each)
                if len(each.envelope.rows) == 1:
                    self._note_unpublishable(each.envelope.rows[0], each.fault, later)
        faults = {each.envelope.routing_key: each.fault for each in refused if each.address}
        for address, fault in faults.items():
            rows = [
                row for each in refused if each.envelope.routing_key == address for row in each.envelope.rows
            ]
            later = self._address_refused(address, fault)
            if rows:
                back.trying(rows[0], later + 0.1, fault)
            back.parked(rows, AddressBackoff.PARKED, fault)
        back.write(cursor, self._participant)
        for address, fault in faults.items():
            values = {
                "participant": self._participant,
                "address": address,
                "fault": fault,
                "later": AddressBackoff.PARKED,
            }
            cursor.execute(sql.PARK, {**values, "since": self._bound.since, "rows": 10 * CLAIM_ROWS})

    def _address_refused(self, address: str, fault: str) -> float:
        """Note it; gives the seconds until the address is tried again."""
        new = address not in self._backoff.refusing
        later = self._backoff.refused(address, fault)
        if new:
            sentence = "The queues of an address do not accept envelopes; the outbox keeps them."
            fields = {"address": address[:80], "fault": fault, "wait": later}
            logger.warning(LogEvent("address_refused", sentence, **fields))
        return later

    def _note_unpublishable(self, row: OutboxRow, fault: str, later: float) -> None:
        if row.id not in self._unpublishable:
            address = address_of(row.topic, row.recipient)[:80]
            sentence = "An outbox row cannot be published; it is retried alone."
            fields = {"row": row.id, "address": address, "fault": fault}
            logger.error(LogEvent("outbox_row_refused", sentence, **fields))
        self._unpublishable[row.id] = (fault, time.monotonic() + later + 2 * ROW_CAP)

    def _forget(self, taken: Sequence[OutgoingEnvelope]) -> None:
        if self._unpublishable:
            for envelope in taken:
                for row in envelope.rows:
                    self._unpublishable.pop(row.id, None)

    def _release(self, cursor: Any, address: str) -> None:
        """An address takes envelopes again: a claim's worth of what was put off is due now."""
        cursor.execute(
            sql.RELEASE, {"participant": self._participant, "address": address, "rows": CLAIM_ROWS}
        )
        if not cursor.rowcount:
            self._backoff.recovered(address)
            sentence = "The queues of an address accept envelopes again."
            logger.info(LogEvent("address_recovered", sentence, address=address))

    def _carry(self) -> None:
        polls: Iterator[float] = iter(())
        gathered, due = False, self._due()
        while not self._stop.is_set():
            sent = self._round() if due else []
            self._turned()
            due = (
                due and self._claimed > 0 and self._idle == 0.0
            )  # what is due and yet was not claimed is in a rival's hands
            if sent:
                polls = iter(self.REPOLL_DELAYS)
                if self._gathers(sent):
                    self._stop.wait(self._pause() if gathered else self._linger)
                    gathered = due = True
            elif (poll := next(polls, None)) is not None:
                gathered = False  # nothing came while it waited: waiting longer would not help
                self._stop.wait(poll)
                due = self._due()
            else:
                due = self._sleep()

    def _due(self) -> bool:
        """Whether anything is due; else :meth:`_sleep` knows for how long nothing is."""
        with self._connect().cursor() as cursor:
            cursor.execute(sql.DUE, self._looking())
            self._found(cursor.fetchone())
        return self._idle == 0.0

    def _looking(self) -> dict[str, object]:
        return {"participant": self._participant, "since": self._bound.since}

    def _found(self, row: Sequence[Any]) -> None:
        """What a look has found: in how many seconds the first row is due, if there is one."""
        look = Look(*row)
        if self._bound.seen(look):
            self._due()
            return
        # Sleep no longer: rows falling due on their own send no NOTIFY, and writers skip it while a due row
        # is pending.
        due_in = self.MAX_IDLE_SECONDS if look.first is None else max(look.first - look.clock, 0.0)
        self._idle = min(due_in, self.MAX_IDLE_SECONDS)
        self._look = time.monotonic() + (self._idle or self.MAX_IDLE_SECONDS)

    def _gathers(self, sent: Sequence[OutgoingEnvelope]) -> bool:
        """Whether it pays to wait for company.

        What counts is how many packs come, not how many rounds: those are fewer the longer each takes or
        waits. By them a relay would gather for ever once it had begun, and never where a busy machine needs
        it most.
        """
        alone = self._bucket.empty
        self._bucket.pour(
            sum(
                envelope.packs
                for envelope in sent
                if envelope.recipient != sql.OBSERVERS and envelope.topic != NOTICE
            )
        )
        if not self._linger or sum(envelope.signals for envelope in sent) >= FULL_SIGNALS:
            return False
        return self._bucket.full or (not alone and self._behind() >= self.BACKLOG_THRESHOLD)

    def _holds(self, row: OutboxRow) -> bool:
        """Whether a reminder would only add copies of what is waiting: behind it in a queue, or in an outbox.

        The claim has made it due again, after twice the time.
        """
        if row.topic != WATCHDOG:
            return False
        if self._backoff.refusing.keys() - OF_OBSERVERS:
            return True
        if not self._behind():
            return False
        stands_still = time.monotonic() - self._fell > self.STANDSTILL
        return row.sent < self.MAX_HELD_REMINDERS or stands_still or self._unconsumed()

    def _pause(self) -> float:
        return max(self._linger, min(self._behind() * self.QUEUED_LINGER, self.MAX_LINGER))

    def _behind(self) -> int:
        """Envelopes that wait in the fullest queue."""
        if (now := time.monotonic()) >= self._ask_again:
            before, self._queued, self._ask_again = self._queued, self._waiting(), now + self.QUEUE_DEPTH_TTL
            if self._queued < before:
                self._fell = now
        return self._queued

    def _sleep(self) -> bool:
        """Until a writer calls, or the net; gives whether something is due."""
        connection = self._connect()
        connection.poll()
        if not connection.notifies:
            select.select([connection], [], [], max(0.0, self._look - time.monotonic()))
            connection.poll()
        called = {notify.payload for notify in connection.notifies}
        connection.notifies.clear()
        # a call without a name is one of a release before this
        return not called.isdisjoint({self._participant, ""}) or (
            time.monotonic() >= self._look and self._due()
        )

    def _connect(self) -> Any:
        if self._connection is None:
            connection = sessions.connect(
                self._dsn, session_for="a relay", application_name=f"relay {self._participant}"
            )
            connection.autocommit = True
            try:
                with connection.cursor() as cursor:
                    cursor.execute(sql.PREPARE)
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
