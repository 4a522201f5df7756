"""Claim due rows of an outbox and build envelopes of them.

An envelope is full at :data:`FULL_SIGNALS` signals or :data:`FULL_BYTES` bytes. A row that does not make a
valid envelope is separated, so that it does not affect other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from ordersaga.choreography import Choreography
from ordersaga.database import Cursor
from ordersaga.envelope import (
    FULL_BYTES,
    FULL_SIGNALS,
    MAX_BYTES,
    envelope_size,
    find_fault,
    join_packs,
    split_pack,
)
from ordersaga.ids import new_id
from ordersaga.saga import Watchdog
from ordersaga.sql import outbox as outbox_sql

CLAIM_ROWS = 400
"""Rows claimed at a time; a row is a pack of up to :data:`FULL_SIGNALS` signals."""
CLAIM_BYTES = 8 * 1024 * 1024
"""Bytes of payload claimed at a time; the last row may exceed it."""
MAX_ROUTING_KEY_BYTES = 255
"""The largest routing key of AMQP."""


class OutboxRow(NamedTuple):
    """A claimed row with all that is needed to put it back.

    :ivar stays: the claim has postponed it instead of deleting it.
    :ivar due: seconds since the epoch.
    :ivar refusals: how often an envelope of this row could not be published; None: never.
    :ivar sent: how often a timer was claimed before.
    """

    id: int
    kind: str
    topic: str
    recipient: str | None
    signals: int
    payload: str
    pack_id: int | None
    stays: bool
    due: float
    created_at: datetime
    retry_of: str | None
    refusals: int | None
    fault: str | None
    sent: int

    @property
    def own_envelope(self) -> bool:
        """Whether it must have an envelope for itself: it may kill workers, or could not be published."""
        return self.kind == "retry" or self.refusals is not None


class OutgoingEnvelope(NamedTuple):
    """An envelope to publish.

    :ivar packs: the number of its packs.
    :ivar rows: the outbox rows of the packs.
    """

    id: str
    topic: str
    recipient: str | None
    signals: int
    body: bytes
    packs: int = 1
    rows: tuple[OutboxRow, ...] = ()

    @property
    def routing_key(self) -> str:
        return routing_key_of(self.topic, self.recipient)

    @property
    def retries_routing_key(self) -> bool:
        """Whether it tests a routing key that was rejected before."""
        return any(row.fault is not None and row.refusals is None for row in self.rows)


class RejectedEnvelope(NamedTuple):
    """An envelope that was not published.

    :ivar fault: a sentence for operators without any payload.
    :ivar by_queue: True: a queue of its routing key accepts no envelopes now. False: the envelope itself
        cannot be published.
    """

    envelope: OutgoingEnvelope
    fault: str
    by_queue: bool


class Claim(NamedTuple):
    """The envelopes of the claimed rows, and those that are not valid.

    :ivar rows: the number of claimed rows.
    :ivar size: the characters of their payloads.
    """

    envelopes: list[OutgoingEnvelope]
    rejected: list[RejectedEnvelope]
    rows: int
    size: int


def routing_key_of(topic: str, recipient: str | None) -> str:
    """The routing key of a topic, or of one participant if there is a recipient."""
    return topic if recipient is None else f"to.{recipient}"


def claim(
    cursor: Cursor,
    participant: str,
    choreography: Choreography | None = None,
    *,
    statement: str = outbox_sql.CLAIM,
    since: float = 0.0,
    limit: int = CLAIM_ROWS,
    holds: Callable[[OutboxRow], bool] = lambda _: False,
) -> Claim:
    """Claim due rows as envelopes; the caller publishes them and commits, or rolls back.

    After a row is published to participants, it is kept and published once more, to the observers of
    ``choreography``. A signal that no participant consumes is published to the observers only, or is deleted,
    because the broker would keep it as a message without a queue. Timers become due again by the intervals of
    the saga's watchdog.

    :param since: the earliest due time to scan; see :class:`ordersaga.scan_bound.ScanBound`.
    :param holds: whether to hold a timer this time.
    """
    observed = choreography is not None and choreography.observed
    dog = Watchdog() if choreography is None else choreography.saga.watchdog
    values = {
        "observed": observed,
        "participant": participant,
        "since": since,
        "rows": limit,
        "size": CLAIM_BYTES,
    }
    cursor.execute(statement, {**values, "first": dog.first.total_seconds(), "cap": dog.cap.total_seconds()})
    rows = [OutboxRow(*row) for row in cursor.fetchall()]
    size = sum(len(row.payload) for row in rows)
    sent = [row for row in rows if not (row.stays and holds(row))]
    if choreography is not None:
        sent = [row for row in sent if choreography.is_consumed(row.topic, row.recipient)]
    envelopes = [*build_envelopes([row for row in sent if not row.own_envelope])]
    envelopes += (envelope for row in sent if row.own_envelope for envelope in build_envelopes([row]))
    good: list[OutgoingEnvelope] = []
    rejected: list[RejectedEnvelope] = []
    for envelope in envelopes:
        _check(envelope, good, rejected)
    return Claim(good, rejected, len(rows), size)


def build_envelopes(rows: Sequence[OutboxRow]) -> Iterator[OutgoingEnvelope]:
    """Join packs of one topic and recipient into envelopes, in their order."""
    open_: dict[tuple[str, str | None], list[tuple[OutboxRow, int, bytes]]] = {}

    def seal(target: tuple[str, str | None]) -> OutgoingEnvelope:
        packs = open_.pop(target)
        body = join_packs(target[0], [pack for _, _, pack in packs])
        return OutgoingEnvelope(
            new_id(),
            *target,
            sum(n for _, n, _ in packs),
            body,
            len(packs),
            tuple(row for row, _, _ in packs),
        )

    for row in rows:
        target = (row.topic, row.recipient)
        for signals, pack in _packs(row):
            packs = open_.setdefault(target, [])
            if packs and (
                sum(n for _, n, _ in packs) + signals > FULL_SIGNALS
                or sum(len(p) for _, _, p in packs) + len(pack) > FULL_BYTES
            ):
                yield seal(target)
                packs = open_.setdefault(target, [])
            packs.append((row, signals, pack))
    for target in list(open_):
        yield seal(target)


def _packs(row: OutboxRow) -> list[tuple[int, bytes]]:
    """The row's pack, split if it exceeds :data:`MAX_BYTES`, as packs of an earlier release may."""
    pack = row.payload.encode()
    if envelope_size(row.topic, [len(pack)]) <= MAX_BYTES:
        return [(row.signals, pack)]
    return [(signals, part.encode()) for signals, part in split_pack(row.payload)] or [(row.signals, pack)]


def _check(
    envelope: OutgoingEnvelope, good: list[OutgoingEnvelope], rejected: list[RejectedEnvelope]
) -> None:
    """Add an envelope to ``good`` or ``rejected``; an invalid pack does not affect the others."""
    if (fault := _fault_of(envelope)) is None:
        good.append(envelope)
    elif len(envelope.rows) > 1:
        rows = [row for row in envelope.rows if not any(map(_fault_of, build_envelopes([row])))]
        good += build_envelopes(rows)
        rejected += (
            RejectedEnvelope(single, fault, by_queue=False)
            for row in envelope.rows
            if row not in rows
            for single in build_envelopes([row])
            if (fault := _fault_of(single))
        )
    else:
        rejected.append(RejectedEnvelope(envelope, fault, by_queue=False))


def _fault_of(envelope: OutgoingEnvelope) -> str | None:
    if len(envelope.routing_key.encode()) > MAX_ROUTING_KEY_BYTES:
        return f"its routing key has more than {MAX_ROUTING_KEY_BYTES} bytes"
    if len(envelope.body) > MAX_BYTES:
        return f"{len(envelope.body):,} bytes are over the limit of {MAX_BYTES:,}"
    return find_fault(envelope.body, envelope.signals)
