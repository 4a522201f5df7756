"""What orders and sagas are filtered by. The conditions are worded as the indexes are."""

from __future__ import annotations

from webapp.filters import Choice, Seen
from webapp.orders.models import Saga


class Status(Choice):
    title = "status"
    parameter_name = "status"
    # what is pending or rolling back is open (a CHECK), and the open ones have an index; a status alone has none
    cases = tuple(
        (value, shown, {"status": value} | ({} if value in ("CONFIRMED", "ROLLED_BACK") else {"ended_at__isnull": True}))
        for value, shown in Saga.Status.choices
    )


class Open(Choice):
    title = "open"
    parameter_name = "open"
    cases = (("yes", "under way", {"ended_at__isnull": True}), ("no", "ended", {"ended_at__isnull": False}))


class Attention(Choice):
    """Sagas that a person should look at."""

    title = "attention"
    parameter_name = "attention"
    cases = (("yes", "needed", {"attention__isnull": False}),)


class RefusedWith(Seen):
    title = "refusal"
    parameter_name = column = "refusal"


class OrderStatus(Status):
    path = "saga__"


class OrderOpen(Open):
    path = "saga__"


class OrderAttention(Attention):
    path = "saga__"
