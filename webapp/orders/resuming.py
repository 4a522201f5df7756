"""A saga that needs attention goes on, because somebody has looked."""

from __future__ import annotations

from uuid import UUID

from django.db import connection, transaction

from webapp.operators import ActRefused, required_reason
from webapp.orders.models import Saga
from workers.order_saga import order_operations


def resume_saga(saga: UUID, *, by: str, reason: str) -> None:
    """Take the flag off and remind the saga of what it waits for; told in its story.

    :param by: who does it, without personal data, such as ``staff 3``: it travels with the notice.
    :raises ActRefused: when the saga needs no attention (any more), or no reason is given.
    """
    reason = required_reason(reason)
    with transaction.atomic():
        if order_operations.resume(str(saga), db=connection, by=by, reason=reason):
            return
    found = Saga.objects.filter(id=saga).first()
    if found is None:
        raise ActRefused(f"There is no saga {saga}.")
    state = "has ended" if found.ended_at else "needs no attention"
    raise ActRefused(f"Saga {saga} {state} ({found.get_status_display()}): nothing to resume.")
