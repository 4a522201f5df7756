"""Settle dead letters: each is replayed or discarded once, by one operator, with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import urlencode

from django.db import connection, transaction
from django.db.models import Count, Max, Min
from django.db.models.functions import Now
from django.urls import reverse

from ordersaga.envelope import read_rows
from ordersaga.errors import EnvelopeError
from ordersaga.signing import Keyring
from webapp.audit.models import DeadLetter
from webapp.operators import ActionRefused, required_reason
from webapp.orders.models import Saga
from workers.order_saga import order_operations
from workers.settings import settings


def replay(letter: int, *, by: str, reason: str) -> str:
    """Deliver a dead letter again; return a sentence about what was done.

    A step that was given up goes back to its participant, a message that the broker gave up to its queue,
    and an unrouted message to its recipient, or to all consumers of its topic. The journals decide whether
    it has an effect. A message that only observers consume is replayed even if its saga has ended.

    :param by: the operator without personal data, such as ``staff 3``; it is sent with the notice.
    :raises ActionRefused: when it is already settled, its sagas have ended, it is not genuine, or no reason
        is given.
    """
    reason = required_reason(reason)
    with transaction.atomic():
        found = _settle(letter, DeadLetter.Outcome.REPLAYED, by, reason)
        if found.source == DeadLetter.Source.PARTICIPANT:
            _refuse_ended({str(found.saga_id)})
            _inform_participant(found, "replayed", by, reason)
            return f"Dead letter {letter} was sent back to {found.participant}."
        body = bytes(found.body)
        topic = _genuine_topic(found, body)
        to = _recipient(found)
        if not order_operations.only_observed(topic, to):
            _refuse_ended({row.saga for row in read_rows(body)})
        count = order_operations.send_again(topic, body, to=to, db=connection, by=by, reason=reason)
    what = "1 signal was" if count == 1 else f"{count} signals were"
    return f"Dead letter {letter}: {what} sent to {to or 'all consumers of the topic'}."


def discard(letter: int, *, by: str, reason: str) -> str:
    """Settle a dead letter without replaying it; it remains readable. Return a sentence about what was done.

    :param by: the operator without personal data, such as ``staff 3``; it is sent with the notice.
    :raises ActionRefused: when it is already settled, or no reason is given.
    """
    reason = required_reason(reason)
    with transaction.atomic():
        found = _settle(letter, DeadLetter.Outcome.DISCARDED, by, reason)
        if found.source == DeadLetter.Source.PARTICIPANT:
            _inform_participant(found, "discarded", by, reason)
    return f"Dead letter {letter} was discarded."


def _settle(letter: int, outcome: DeadLetter.Outcome, by: str, reason: str) -> DeadLetter:
    """Mark a dead letter as settled; of two concurrent operators the first wins."""
    updated = DeadLetter.objects.filter(id=letter, outcome=None).update(
        outcome=outcome, settled_at=Now(), settled_by=by, settled_why=reason
    )
    found = DeadLetter.objects.filter(id=letter).first()
    if found is None:
        raise ActionRefused(f"There is no dead letter {letter}.")
    if not updated:
        raise ActionRefused(
            f"Dead letter {letter} was already {found.outcome} by {found.settled_by}: {found.settled_why}"
        )
    return found


def _refuse_ended(sagas: set[str]) -> None:
    """:raises ActionRefused: when all sagas have ended, as a replay would then have no effect."""
    if not Saga.objects.filter(id__in=sagas, ended_at=None).exists():
        raise ActionRefused(
            "Its saga has ended, so a replay has no effect. Discard it; to try again, place a new order."
        )


def _recipient(letter: DeadLetter) -> str | None:
    """Return the participant or queue of a dead message; None for all consumers of its topic."""
    if letter.source != DeadLetter.Source.UNHEARD:
        return letter.participant
    address, _, recipient = str(letter.headers.get("property routing_key")).partition(".")
    return recipient if address == "to" else None


def _genuine_topic(letter: DeadLetter, body: bytes) -> str:
    """Return the topic of a dead message after verifying its signature, because a replay signs it again."""
    headers = letter.headers
    topic, signals = str(headers.get("task", "")), headers.get("ordersaga-signals")
    try:
        Keyring.parse(settings().signing_keys).verify(
            str(headers.get("ordersaga-signature", "")), str(headers.get("id", "")), topic, signals, body
        )
        read_rows(body)
    except EnvelopeError as error:
        raise ActionRefused(
            f"The message is not signed by this installation ({error}), so it is not replayed. Discard it."
        ) from None
    return topic


def _inform_participant(
    letter: DeadLetter, decision: Literal["replayed", "discarded"], by: str, reason: str
) -> None:
    order_operations.settle(
        str(letter.saga_id), str(letter.step), decision,
        participant=letter.participant, db=connection, by=by, reason=reason,
    )  # fmt: skip


MAX_GROUPS = 200
"""The most groups that are shown, the largest first."""


@dataclass(frozen=True)
class DeadLetterGroup:
    error: str
    step: str | None
    participant: str
    count: int
    oldest: datetime
    newest: datetime

    @property
    def link(self) -> str:
        """The address of the list of its dead letters."""
        wanted = {"error": self.error, "step": self.step or "", "participant": self.participant}
        return f"{reverse('admin:audit_deadletter_changelist')}?{urlencode(wanted)}"


def group_open_dead_letters() -> list[DeadLetterGroup]:
    """Group open dead letters with one query, which an index of open dead letters answers alone."""
    rows = (
        DeadLetter.objects.filter(outcome=None)
        .order_by()
        .values_list("error", "step", "participant")
        .annotate(count=Count("received_at"), oldest=Min("received_at"), newest=Max("received_at"))
        .order_by("-count")[:MAX_GROUPS]
    )
    return [DeadLetterGroup(*row) for row in rows]
