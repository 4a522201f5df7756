"""What orders and sagas are filtered by. The conditions are worded as the indexes are."""

from __future__ import annotations

from webapp.admin.base import Choice, Seen
from webapp.orders.models import Saga

IMPLIED: dict[str, dict[str, bool]] = {
    "PENDING": {"ended_at__isnull": True},
    "ROLLING_BACK": {"ended_at__isnull": True, "refusal__isnull": False},
    "ROLLED_BACK": {"refusal__isnull": False},
}


class Status(Choice):
    title = "status"
    parameter_name = "status"
    # What is pending or rolling back is open, what rolls or is rolled back was refused (CHECKs), and both
    # have an index. A status alone has none: it would make each change of it dearer. Confirmed are most.
    cases = tuple(
        (value, shown, {"status": value} | IMPLIED.get(value, {})) for value, shown in Saga.Status.choices
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
