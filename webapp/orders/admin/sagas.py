"""The admin pages of sagas: progress, timeline, and the action that resumes one."""

# ruff: noqa: ARG002 - Django passes its hooks arguments that they do not need

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from webapp.admin.actions import Action, ActionAdmin
from webapp.admin.base import KeysetList
from webapp.admin.formatting import (
    events_link,
    format_duration,
    format_millisecond,
    format_money,
    format_second,
    nowrap,
)
from webapp.audit.timeline import build_table, load_timeline
from webapp.orders import search, services
from webapp.orders.filters import AttentionFilter, OpenFilter, RefusalFilter, StatusFilter
from webapp.orders.models import Saga
from webapp.orders.progress import Progress, read_progress, read_progress_of_many


class SagaList(KeysetList):
    """Adds its progress to each saga of a page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        progress = read_progress_of_many(self.result_list)
        for saga in self.result_list:
            saga.progress = progress[saga.id]


@admin.register(Saga)
class SagaAdmin(ActionAdmin):
    operator_actions = (
        Action(
            "resume",
            "Resume",
            "orders.resume_saga",
            "Clears the mark 'needs attention', re-sends the signal that the saga waits for, and "
            "retries failing undos now.",
            services.resume,
            lambda saga: saga.attention is not None and saga.ended_at is None,
        ),
    )
    change_form_template = "admin/orders/saga/change_form.html"
    list_display = ("shown_id", "number", "status_and_stand", "why", "age_and_start")
    list_filter = (StatusFilter, OpenFilter, AttentionFilter, RefusalFilter)
    list_select_related = ("order",)
    ordering = ("-id",)
    search_fields = ("id",)  # shows the search box; get_search_results decides
    search_help_text = search.SEARCH_HELP
    fields = (
        "id",
        "its_order",
        "shown_status",
        "reason",
        "refusal",
        "refused_by",
        "attention",
        "age",
        "reached",
        "waits_for",
        "until",
        "reminder",
        "rounds",
        "participants",
        "started",
        "moved",
        "ended",
        "heard",
        "its_books",
    )
    readonly_fields = fields

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SagaList]:
        return SagaList

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if (saga := context.get("original")) is not None:
            context.update(build_table(saga.timeline))
        return super().render_change_form(request, context, *args, **kwargs)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Saga | None:
        """Return the saga with its timeline and progress, which several fields show."""
        saga: Saga | None = super().get_object(request, object_id, from_field)
        if saga is not None:
            saga.timeline = found = load_timeline(saga.id)  # type: ignore[attr-defined]
            events = [entry.event for root in found.roots for _, entry in root.walk()] if found else []
            saga.progress = read_progress(saga, events, found.waits_for if found else [])  # type: ignore[attr-defined]
        return saga

    @admin.display(description="id")
    def shown_id(self, saga: Saga) -> str:
        return str(saga.id)

    @admin.display(description="order")
    def number(self, saga: Saga) -> int | None:
        return saga.order.id if hasattr(saga, "order") else None

    @admin.display(description="reason")
    def why(self, saga: Saga) -> str:
        return attention_or_reason(saga)

    @admin.display(description="order")
    def its_order(self, saga: Saga) -> str:
        if not hasattr(saga, "order"):
            return "none"
        total = format_money(saga.order.amount, saga.order.currency)
        link = reverse("admin:orders_order_change", args=[saga.order.id])
        return format_html(
            '<a href="{}">order {}</a> of {}, {}', link, saga.order.id, saga.order.customer, total
        )

    @admin.display(description="status")
    def shown_status(self, saga: Saga) -> str:
        return nowrap(saga.get_status_display())

    @admin.display(description="status")
    def status_and_stand(self, saga: Saga) -> str:
        progress = _progress(saga)
        status = self.shown_status(saga)
        reached = format_html('{}<div class="help">reached: {}</div>', status, progress.reached)
        if not progress.waits_for:
            return reached
        until = format_html(" until {}", format_second(progress.until)) if progress.until else ""
        return format_html('{}<div class="help">waits for {}{}</div>', reached, progress.waits_for, until)

    @admin.display
    def age(self, saga: Saga) -> str:
        """The time from its start to its end, or until now."""
        return nowrap(format_duration((saga.ended_at or timezone.now()) - saga.started_at))

    @admin.display
    def started(self, saga: Saga) -> str | None:
        return format_millisecond(saga.started_at)

    @admin.display(description="age")
    def age_and_start(self, saga: Saga) -> str:
        return format_html(
            '{}<div class="help">since {}</div>', self.age(saga), format_second(saga.started_at)
        )

    @admin.display(description="last moved")
    def moved(self, saga: Saga) -> str | None:
        return format_millisecond(saga.moved_at)

    @admin.display
    def ended(self, saga: Saga) -> str | None:
        return format_millisecond(saga.ended_at) or "not yet"

    @admin.display(description="reached")
    def reached(self, saga: Saga) -> str:
        return _progress(saga).reached

    @admin.display(description="waits for")
    def waits_for(self, saga: Saga) -> str:
        return _progress(saga).waits_for or "nothing: the saga has ended"

    @admin.display(description="until")
    def until(self, saga: Saga) -> str | None:
        return format_millisecond(_progress(saga).until) or (
            "the saga has ended" if saga.ended_at else "no deadline: it is no longer pending"
        )

    @admin.display(description="next reminder")
    def reminder(self, saga: Saga) -> str | None:
        return format_millisecond(_progress(saga).reminded_at) or "none"

    @admin.display(description="events")
    def heard(self, saga: Saga) -> str:
        return events_link(saga.id)

    @admin.display(description="stock and ledger")
    def its_books(self, saga: Saga) -> str:
        lists = [reverse(f"admin:mirrors_{model}_changelist") for model in ("movement", "ledgertransaction")]
        return format_html(
            '<a href="{0}?q={2}">movements of stock</a>, <a href="{1}?q={2}">ledger transactions</a>',
            *lists,
            saga.id,
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Saga], search_term: str
    ) -> tuple[QuerySet[Saga], bool]:
        return queryset.filter(search.filter_sagas(search_term)), False


def attention_or_reason(saga: Saga) -> str:
    """Return why the saga needs attention, or else the reason of its refusal."""
    if saga.attention is not None:
        return format_html('<strong class="attention">needs attention:</strong> {}', saga.attention)
    return saga.reason or ""


def _progress(saga: Saga) -> Progress:
    progress: Progress = saga.progress  # type: ignore[attr-defined]  # set by get_object and SagaList
    return progress
