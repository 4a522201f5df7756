"""Settling dead letters: each is replayed or discarded once, by one person, for a reason."""

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
    """Have a dead letter heard once more by whom it was for; gives a sentence that says what was done.

    What a participant gave up goes back to that participant, what the broker gave up to the queue where it
    died, and what nobody heard to its recipient, or to everybody who hears it now. What its saga does with
    it, the journals decide. What only observers hear is replayed whether its saga has ended or not.

    :param by: who does it, without personal data, such as ``staff 3``: it travels with the notice.
    :raises ActRefused: when it was settled before, its saga has ended, it is not genuine, or no reason is
        given.
    """
    reason = required_reason(reason)
    with transaction.atomic():
        found = _settle(letter, DeadLetter.Outcome.REPLAYED, by, reason)
        if found.source == DeadLetter.Source.PARTICIPANT:
            _refuse_ended({str(found.saga_id)})
            _inform_participant(found, "replayed", by, reason)
            return f"Dead letter {letter} goes back to {found.participant}."
        body = bytes(found.body)
        topic = _genuine_topic(found, body)
        to = _recipient(found)
        if not order_operations.only_observed(topic, to):
            _refuse_ended({row.saga for row in read_rows(body)})
        count = order_operations.send_again(topic, body, to=to, db=connection, by=by, reason=reason)
    return f"Dead letter {letter}: {count} {'signal goes' if count == 1 else 'signals go'} to {to or 'all who hear them'}."


def discard(letter: int, *, by: str, reason: str) -> str:
    """Settle a dead letter without replaying it; it stays to be read. Gives a sentence that says what was
    done.

    :param by: who does it, without personal data, such as ``staff 3``: it travels with the notice.
    :raises ActRefused: when it was settled before, or no reason is given.
    """
    reason = required_reason(reason)
    with transaction.atomic():
        found = _settle(letter, DeadLetter.Outcome.DISCARDED, by, reason)
        if found.source == DeadLetter.Source.PARTICIPANT:
            _inform_participant(found, "discarded", by, reason)
    return f"Dead letter {letter} is discarded."


def _settle(letter: int, outcome: DeadLetter.Outcome, by: str, reason: str) -> DeadLetter:
    """Decide between two who settle the same letter: the first wins."""
    mine = DeadLetter.objects.filter(id=letter, outcome=None).update(
        outcome=outcome, settled_at=Now(), settled_by=by, settled_why=reason
    )
    found = DeadLetter.objects.filter(id=letter).first()
    if found is None:
        raise ActionRefused(f"There is no dead letter {letter}.")
    if not mine:
        raise ActionRefused(
            f"Dead letter {letter} was {found.outcome} before, by {found.settled_by}: {found.settled_why}"
        )
    return found


def _refuse_ended(sagas: set[str]) -> None:
    """A replay must still be able to matter to one of its sagas."""
    if not Saga.objects.filter(id__in=sagas, ended_at=None).exists():
        raise ActionRefused(
            "What it belongs to has ended, so that replaying it would do nothing. Discard it; to try again, place a new order."
        )


def _recipient(letter: DeadLetter) -> str | None:
    """Whom a dead message was for; None: all who hear its topic."""
    if letter.source != DeadLetter.Source.UNHEARD:
        return letter.participant
    address, _, recipient = str(letter.headers.get("property routing_key")).partition(".")
    return recipient if address == "to" else None


def _genuine_topic(letter: DeadLetter, body: bytes) -> str:
    """The topic that a dead message was signed for: only what was ours is signed anew."""
    headers = letter.headers
    topic, signals = str(headers.get("task", "")), headers.get("ordersaga-signals")
    try:
        Keyring.parse(settings().signing_keys).verify(
            str(headers.get("ordersaga-signature", "")), str(headers.get("id", "")), topic, signals, body
        )
        read_rows(body)
    except EnvelopeError as error:
        raise ActionRefused(
            f"It is not one of our messages ({error}), so it is not signed anew. Discard it."
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
"""Groups shown, the largest first."""


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
        """The list of its letters."""
        wanted = {"error": self.error, "step": self.step or "", "participant": self.participant}
        return f"{reverse('admin:audit_deadletter_changelist')}?{urlencode(wanted)}"


def group_open_dead_letters() -> list[DeadLetterGroup]:
    """One query, answered from an index of the open letters alone."""
    rows = (
        DeadLetter.objects.filter(outcome=None)
        .order_by()
        .values_list("error", "step", "participant")
        .annotate(count=Count("received_at"), oldest=Min("received_at"), newest=Max("received_at"))
        .order_by("-count")[:MAX_GROUPS]
    )
    return [DeadLetterGroup(*row) for row in rows]
