"""The filters of the order and saga lists. Their conditions match the partial indexes."""

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
    # An index on the status would make each change of it slower. CHECKs guarantee that pending and
    # rolling-back sagas are open and that rolling-back and rolled-back ones have a refusal, so the filter
    # adds these indexed conditions. Most sagas are confirmed; finding them needs no index.
    cases = tuple(
        (value, shown, {"status": value} | IMPLIED_CONDITIONS.get(value, {}))
        for value, shown in Saga.Status.choices
    )


class OpenFilter(ChoiceFilter):
    title = "open"
    parameter_name = "open"
    cases = (("yes", "in progress", {"ended_at__isnull": True}), ("no", "ended", {"ended_at__isnull": False}))


class AttentionFilter(ChoiceFilter):
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
