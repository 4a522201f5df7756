"""Dead letters that nobody has settled, grouped by what went wrong where."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from django.db.models import Count, Max, Min
from django.urls import reverse

from webapp.audit.models import DeadLetter

MOST = 200
"""Groups shown, the largest first."""


@dataclass(frozen=True)
class Group:
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


def groups() -> list[Group]:
    """One query, answered from an index of the open letters alone."""
    rows = (
        DeadLetter.objects.filter(outcome=None)
        .order_by()
        .values_list("error", "step", "participant")
        .annotate(count=Count("received_at"), oldest=Min("received_at"), newest=Max("received_at"))
        .order_by("-count")[:MOST]
    )
    return [Group(*row) for row in rows]
