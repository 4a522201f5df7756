"""The admin pages of the audit trail and of dead letters."""

# ruff: noqa: ARG002 - Django passes its hooks arguments that they do not need

from __future__ import annotations

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from webapp.admin.actions import Action, ActionAdmin
from webapp.admin.base import ReadOnlyAdmin, parse_number, parse_uuid
from webapp.admin.formatting import (
    format_json,
    format_millisecond,
    format_payload,
    format_second,
    nowrap,
    preformat,
)
from webapp.audit import services
from webapp.audit.filters import (
    AgainFilter,
    ExceptionFilter,
    KindFilter,
    OutcomeFilter,
    ParticipantFilter,
    SourceFilter,
    StepFilter,
)
from webapp.audit.models import DeadLetter, SagaEvent
from webapp.audit.services import group_open_dead_letters
from webapp.flower.links import flower_task_url
from webapp.operators import display_names
from webapp.orders.models import Order, Saga


@admin.register(SagaEvent)
class SagaEventAdmin(ReadOnlyAdmin):
    list_display = ("id", "said", "kind", "what", "participant", "step", "attempt", "which", "task")
    list_filter = (KindFilter, AgainFilter)
    ordering = ("-id",)
    search_fields = ("saga_id",)  # shows the search box; get_search_results decides
    search_help_text = "order number, saga id, event id or task id; the newest events come first"
    fields = (
        "id",
        "event_id",
        "saga",
        "cause",
        "kind",
        "name",
        "participant",
        "step",
        "task_id",
        "attempt",
        "again",
        "reason",
        "said",
        "heard",
        "shown_data",
    )
    readonly_fields = fields

    @admin.display(description="emitted at")
    def said(self, event: SagaEvent) -> str | None:
        return format_millisecond(event.said_at)

    @admin.display(description="recorded at")
    def heard(self, event: SagaEvent) -> str | None:
        return format_millisecond(event.heard_at)

    @admin.display(description="name")
    def what(self, event: SagaEvent) -> str:
        return f"{event.name}, again" if event.again else event.name

    @admin.display
    def task(self, event: SagaEvent) -> str | None:
        """A link to the task in Flower."""
        return event.task_id and format_html('<a href="{}">task</a>', flower_task_url(event.task_id))

    @admin.display
    def saga(self, event: SagaEvent) -> str:
        link = reverse("admin:orders_saga_change", args=[event.saga_id])
        return format_html('<a href="{}">{}</a>', link, event.saga_id)

    @admin.display(description="saga")
    def which(self, event: SagaEvent) -> str:
        """A link named by the end of the saga's id, because the ids of one hour begin alike."""
        link, id_ = reverse("admin:orders_saga_change", args=[event.saga_id]), str(event.saga_id)
        return format_html('<a href="{}" title="{}">…{}</a>', link, id_, id_[-8:])

    @admin.display(description="data")
    def shown_data(self, event: SagaEvent) -> str:
        return preformat(format_json(event.data))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SagaEvent], search_term: str
    ) -> tuple[QuerySet[SagaEvent], bool]:
        if not (term := search_term.strip()):
            return queryset, False
        if (number := parse_number(term)) is not None:
            return queryset.filter(saga_id__in=Order.objects.filter(id=number).values("saga_id")), False
        if (id_ := parse_uuid(term)) is not None:
            return queryset.filter(Q(saga_id=id_) | Q(event_id=id_) | Q(task_id=str(id_))), False
        return queryset.none(), False


@admin.register(DeadLetter)
class DeadLetterAdmin(ActionAdmin):
    operator_actions = (
        Action(
            "replay",
            "Replay",
            "audit.replay_deadletter",
            "Delivers the signal or message to its recipient again. The recipient's journal prevents that "
            "a step runs twice. A message to the audit completes the audit trail.",
            services.replay,
            lambda letter: letter.outcome is None,
        ),
        Action(
            "discard",
            "Discard",
            "audit.discard_deadletter",
            "Settles the dead letter without another delivery. It remains readable.",
            services.discard,
            lambda letter: letter.outcome is None,
        ),
    )
    change_list_template = "admin/audit/deadletter/change_list.html"
    list_display = (
        "id", "received_on", "outcome_or_open", "queue", "where", "summary", "attempts",
    )  # fmt: skip
    list_filter = (OutcomeFilter, SourceFilter, ParticipantFilter, StepFilter, ExceptionFilter)
    ordering = ("-id",)
    search_fields = ("digest",)  # shows the search box; get_search_results decides
    search_help_text = "order number, saga id, or a digest from the logs"
    fields = (
        "id",
        "source",
        "participant",
        "its_saga",
        "step",
        "topic",
        "error",
        "message",
        "shown_traceback",
        "shown_body",
        "shown_headers",
        "attempts",
        "digest",
        "received",
        "settled",
    )
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        return [
            path("groups/", self.admin_site.admin_view(self.groups_view), name="audit_deadletter_groups"),
            *super().get_urls(),
        ]

    def groups_view(self, request: HttpRequest) -> HttpResponse:
        """Show open dead letters grouped by exception, step and queue."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": "Open dead letters, grouped",
            "opts": self.opts,
            "groups": group_open_dead_letters(),
        }
        return TemplateResponse(request, "admin/audit/deadletter/groups.html", context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        letters = super().get_queryset(request)
        listed = (
            request.resolver_match is not None
            and request.resolver_match.url_name == "audit_deadletter_changelist"
        )
        return letters.defer("body", "traceback", "headers") if listed else letters

    @admin.display(description="outcome")
    def outcome_or_open(self, letter: DeadLetter) -> str:
        return letter.outcome or "open"

    @admin.display
    def queue(self, letter: DeadLetter) -> str:
        return letter.participant

    @admin.display(description="step or signal")
    def where(self, letter: DeadLetter) -> str:
        return nowrap(letter.step or letter.topic.removeprefix("signal."))

    @admin.display(description="exception and message")
    def summary(self, letter: DeadLetter) -> str:
        """The exception without its module, and the beginning of its message."""
        return f"{letter.error.rpartition('.')[2]}: {letter.message[:120]}"

    @admin.display(description="received")
    def received_on(self, letter: DeadLetter) -> str | None:
        return format_second(letter.received_at)

    @admin.display
    def received(self, letter: DeadLetter) -> str | None:
        return format_millisecond(letter.received_at)

    @admin.display(description="saga")
    def its_saga(self, letter: DeadLetter) -> str:
        if letter.saga_id is None:
            return "several sagas, or an unreadable message"
        known = Saga.objects.filter(id=letter.saga_id).exists()
        link = reverse("admin:orders_saga_change", args=[letter.saga_id])
        return (
            format_html('<a href="{}">{}</a>', link, letter.saga_id)
            if known
            else f"{letter.saga_id} (unknown)"
        )

    @admin.display(description="traceback")
    def shown_traceback(self, letter: DeadLetter) -> str:
        return preformat(letter.traceback)

    @admin.display(description="payload")
    def shown_body(self, letter: DeadLetter) -> str:
        return preformat(format_payload(bytes(letter.body)))

    @admin.display(description="headers")
    def shown_headers(self, letter: DeadLetter) -> str:
        return preformat(format_json(letter.headers))

    @admin.display
    def settled(self, letter: DeadLetter) -> str:
        if letter.outcome is None:
            return "open"
        by = str(letter.settled_by)
        return format_html(
            "{} by {}, {}: {}",
            letter.outcome,
            display_names([by])[by],
            format_millisecond(letter.settled_at),
            letter.settled_why,
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter], search_term: str
    ) -> tuple[QuerySet[DeadLetter], bool]:
        if not (term := search_term.strip()):
            return queryset, False
        if "-" in term and (saga := parse_uuid(term)) is not None:
            return queryset.filter(saga_id=saga), False
        wanted = Q(digest__startswith=term.lower())
        if (
            number := parse_number(term)
        ) is not None:  # a separate query, because a subquery in an OR prevents the use of indexes
            saga = Order.objects.filter(id=number).values_list("saga_id", flat=True).first()
            wanted |= Q(saga_id=saga) if saga else Q()
        return queryset.filter(wanted), False
