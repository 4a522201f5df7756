"""What orders and sagas are filtered by. The conditions are worded as the indexes are."""

from __future__ import annotations

from webapp.admin.base import ChoiceFilter, DistinctValueFilter
from webapp.orders.models import Saga

IMPLIED_CONDITIONS: dict[str, dict[str, bool]] = {
    "PENDING": {"ended_at__isnull": True},
    "ROLLING_BACK": {"ended_at__isnull": True, "refusal__isnull": False},
    "ROLLED_BACK": {"refusal__isnull": False},
}


class StatusFilter(ChoiceFilter):
    title = "status"
    parameter_name = "status"
    # What is pending or rolling back is open, what rolls or is rolled back was refused (CHECKs), and both
    # have an index. A status alone has none: it would make each change of it dearer. Confirmed are most.
    cases = tuple(
        (value, shown, {"status": value} | IMPLIED_CONDITIONS.get(value, {}))
        for value, shown in Saga.Status.choices
    )


class OpenFilter(ChoiceFilter):
    title = "open"
    parameter_name = "open"
    cases = (("yes", "under way", {"ended_at__isnull": True}), ("no", "ended", {"ended_at__isnull": False}))


class AttentionFilter(ChoiceFilter):
    """Sagas that a person should look at."""

    title = "attention"
    parameter_name = "attention"
    cases = (("yes", "needed", {"attention__isnull": False}),)


class RefusalFilter(DistinctValueFilter):
    title = "refusal"
    parameter_name = column = "refusal"


class OrderStatusFilter(StatusFilter):
    path = "saga__"


class OrderOpenFilter(OpenFilter):
    path = "saga__"


class OrderAttentionFilter(AttentionFilter):
    path = "saga__"
