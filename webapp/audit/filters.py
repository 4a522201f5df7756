"""The filters of the event and dead-letter lists; each has an index."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest

from webapp.admin.base import ChoiceFilter, DistinctValueFilter
from webapp.audit.models import DeadLetter, SagaEvent


class KindFilter(ChoiceFilter):
    title = "kind"
    parameter_name = "kind"
    cases = tuple((value, shown, {"kind": value}) for value, shown in SagaEvent.Kind.choices)


class AgainFilter(ChoiceFilter):
    title = "again"
    parameter_name = "again"
    cases = (("yes", "re-sent", {"again": True}),)


class SourceFilter(ChoiceFilter):
    title = "source"
    parameter_name = "source"
    cases = tuple((value, shown, {"source": value}) for value, shown in DeadLetter.Source.choices)


class OutcomeFilter(ChoiceFilter):
    """Shows open dead letters by default."""

    title = "outcome"
    parameter_name = "outcome"
    cases = (
        ("open", "open", {"outcome__isnull": True}),
        *((value, shown, {"outcome": value}) for value, shown in DeadLetter.Outcome.choices),
        ("all", "all", {}),
    )

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        return islice(
            super().choices(changelist), 1, None
        )  # drops Django's "All", which has no value and would mean open

    def value(self) -> str:
        return super().value() or "open"


class ParticipantFilter(DistinctValueFilter):
    title = "queue"
    parameter_name = column = "participant"


class StepFilter(DistinctValueFilter):
    title = "step"
    parameter_name = column = "step"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """An empty value selects dead letters without a step; the groups page links to it."""
        return (
            queryset.filter(step__isnull=True) if self.value() == "" else super().queryset(request, queryset)
        )


class ExceptionFilter(DistinctValueFilter):
    title = "exception"
    parameter_name = column = "error"
