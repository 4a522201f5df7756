"""From the outbox to the broker: claim what is due, pack it into envelopes, publish with confirms, commit.

A crash between a confirm and the commit publishes twice; the journal absorbs it.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import psycopg2

from ordersaga import sessions
from ordersaga.bucket import Bucket
from ordersaga.choreography import Choreography
from ordersaga.database import Cursor
from ordersaga.envelope import FULL_BYTES, FULL_SIGNALS, envelope_text
from ordersaga.ids import new_id
from ordersaga.outbox import NOTICE
from ordersaga.sql import outbox as sql

LINGER = timedelta(milliseconds=100)
"""How long a relay waits for company in a stream, unless told otherwise."""
CLAIM_ROWS = 400
"""Rows claimed at a time; a row is a pack of one signal or of some hundred."""


class Parcel(NamedTuple):
    """An envelope with its address."""

    id: str
    topic: str
    recipient: str | None
    signals: int
    body: bytes
    packs: int = 1

    @property
    def routing_key(self) -> str:
        """Where the exchange sends it: to all who hear the topic, or to one participant."""
        return self.topic if self.recipient is None else f"to.{self.recipient}"


Publish = Callable[[Sequence[Parcel]], None]
"""Publishes parcels and returns once the broker has confirmed all of them; raises otherwise."""


def claim(
    cursor: Cursor, participant: str, choreography: Choreography | None = None, statement: str = sql.CLAIM
) -> list[Parcel]:
    """Take what is due out of the outbox, packed; the caller publishes it and commits, or rolls back.

    Retries travel alone: a signal that kills workers was set apart so that it takes nobody with it. What goes to participants
    becomes due to the observers of ``choreography``, if it has any; what only they hear is not sent twice.
    """
    observed = choreography is not None and choreography.observed
    cursor.execute(statement, [observed, participant, CLAIM_ROWS])
    claimed = cursor.fetchall()
    if choreography is not None and observed:
        claimed = [row for row in claimed if row[2] is not None or choreography.is_heard(row[1])]
    together = [row for alone, *row in claimed if not alone]
    return [*parcels(together), *(parcel for alone, *row in claimed if alone for parcel in parcels([row]))]


def parcels(rows: Sequence[Sequence[Any]]) -> Iterator[Parcel]:
    """Join packs of one topic and recipient into envelopes, in their order.

    :param rows: topic, recipient, number of signals and text of each pack.
    """
    open_: dict[tuple[str, str | None], list[tuple[int, str]]] = {}

    def seal(address: tuple[str, str | None]) -> Parcel:
        packs = open_.pop(address)
        body = envelope_text(address[0], [payload for _, payload in packs])
        return Parcel(new_id(), *address, sum(n for n, _ in packs), body, len(packs))

    for topic, recipient, signals, payload in rows:
        address = (topic, recipient)
        packs = open_.setdefault(address, [])
        if packs and (
            sum(n for n, _ in packs) + signals > FULL_SIGNALS or sum(len(p) for _, p in packs) + len(payload) > FULL_BYTES
        ):
            yield seal(address)
            packs = open_.setdefault(address, [])
        packs.append((signals, payload))
    for address in list(open_):
        yield seal(address)


class Relay:
    """Carries one participant's outbox to the broker until it is stopped. Many may run on one outbox."""

    NET = 0.25
    """Seconds after which the outbox is looked at though nobody called."""
    POLLS = (0.003, 0.012)
    """Seconds between looks after something was carried: who saw it still there did not call, and may commit only now."""
    QUEUED_LINGER = 0.05
    MAX_LINGER = 1.0
    """Seconds of linger for each envelope that waits in a queue, and at most."""
    BURST, STREAM = 6, 60.0
    """Packs that may follow one another at once, and packs a second that are a stream. Twenty orders a second are forty packs
    in their initiator's outbox, and none of them waits."""
    CROWD = 2
    """Envelopes that wait in a queue and show that its workers are behind, so that gathering pays though no stream comes."""
    ASK = 0.1
    """Seconds for which an answer of the broker's holds; asking for all queues costs as much as some publishes."""

    def __init__(
        self,
        dsn: str,
        participant: str,
        publish: Publish,
        *,
        choreography: Choreography | None = None,
        linger: timedelta = LINGER,
        waiting: Callable[[], int] = lambda: 0,
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        """:param choreography: whose observers hear what is carried; None: nobody observes.
        :param linger: how long to wait after an envelope that was not full, so that the next one gathers more. Only in a
            stream: lone signals leave at once, and so do some that follow closely.
        :param waiting: how many envelopes wait in the fullest queue of those who work. The more there are, the longer the
            linger: what waits in the outbox still grows into one envelope, what waits in the broker never does.
        :param turned: told after each round, be there something to carry or not.
        """
        self._dsn, self._participant, self._publish, self._choreography = dsn, participant, publish, choreography
        self._linger, self._waiting, self._turned = linger.total_seconds(), waiting, turned
        self._connection: Any = None
        self._queued, self._ask_again = 0, 0.0
        self._idle = self._look = 0.0
        self._bucket = Bucket(self.STREAM, self.BURST)
        self._stop = threading.Event()

    def run(self, on_error: Callable[[Exception, float], None]) -> None:
        """Carry until :meth:`stop`; errors are told to ``on_error`` with the seconds until the next try, and tried again."""
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
        return sum(parcel.signals for parcel in self._round())

    def close(self) -> None:
        """Close the relay's connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _round(self) -> list[Parcel]:
        try:
            connection = self._connect()
            connection.notifies.clear()  # whoever has called by now is seen
            with connection.cursor() as cursor:
                claimed = claim(cursor, self._participant, self._choreography, sql.CLAIM_PREPARED)
                if claimed:
                    self._publish(claimed)
                cursor.execute(sql.COMMIT, [self._participant])
                self._found(cursor.fetchone())
        except BaseException:
            self.close()  # and with it whatever was claimed
            raise
        return claimed

    def _carry(self) -> None:
        polls: Iterator[float] = iter(())
        gathered, due = False, self._due()
        while not self._stop.is_set():
            sent = self._round() if due else []
            self._turned()
            due = bool(sent) and self._idle == 0.0  # what is due and yet was not claimed is in a rival's hands
            if sent:
                polls = iter(self.POLLS)
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
            cursor.execute(sql.DUE, [self._participant])
            self._found(cursor.fetchone())
        return self._idle == 0.0

    def _found(self, first: Sequence[float] | None) -> None:
        """What a look has found: in how many seconds the first row is due, if there is one."""
        # until then, no longer: nobody is called for a row that comes due by itself, and beside one that is due no writer calls
        self._idle = self.NET if first is None else min(max(first[0], 0.0), self.NET)
        self._look = time.monotonic() + (self._idle or self.NET)

    def _gathers(self, sent: Sequence[Parcel]) -> bool:
        """Whether it pays to wait for company.

        What counts is how many packs come, not how many rounds: those are fewer the longer each takes or waits. By them a relay
        would gather for ever once it had begun, and never where a busy machine needs it most.
        """
        alone = self._bucket.empty
        self._bucket.pour(sum(parcel.packs for parcel in sent if parcel.recipient != sql.OBSERVERS and parcel.topic != NOTICE))
        if not self._linger or sum(parcel.signals for parcel in sent) >= FULL_SIGNALS:
            return False
        return self._bucket.full or (not alone and self._behind() >= self.CROWD)

    def _pause(self) -> float:
        return max(self._linger, min(self._behind() * self.QUEUED_LINGER, self.MAX_LINGER))

    def _behind(self) -> int:
        """Envelopes that wait in the fullest queue."""
        if (now := time.monotonic()) >= self._ask_again:
            self._queued, self._ask_again = self._waiting(), now + self.ASK
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
        return not called.isdisjoint({self._participant, ""}) or (time.monotonic() >= self._look and self._due())

    def _connect(self) -> Any:
        if self._connection is None:
            connection = sessions.connect(self._dsn, session_for="a relay", application_name=f"relay {self._participant}")
            connection.autocommit = True
            try:
                with connection.cursor() as cursor:
                    cursor.execute(sql.PREPARE)
            except psycopg2.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection
