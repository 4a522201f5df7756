"""The audit trail and the desk of dead letters, to look at."""

# ruff: noqa: ARG002 - Django hands its hooks more than each needs

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from webapp.audit.models import DeadLetter, SagaEvent
from webapp.flower.links import flower_task_url
from webapp.orders.models import Order
from webapp.read_only import ReadOnlyAdmin, as_number, as_uuid
from webapp.shown import moment, unbroken

SHOWN_BYTES = 4000


@admin.register(SagaEvent)
class SagaEventAdmin(ReadOnlyAdmin):
    list_display = ("id", "said", "kind", "name", "participant", "step", "attempt", "task", "repeated", "saga")
    list_filter = ("kind", "participant", "again")
    ordering = ("-id",)
    search_fields = ("saga_id",)  # shows the search box; get_search_results decides
    search_help_text = "order number, saga id or event id; the story is read from below"

    @admin.display(ordering="said_at")
    def said(self, event: SagaEvent) -> str | None:
        return moment(event.said_at)

    @admin.display(description="again")
    def repeated(self, event: SagaEvent) -> str:
        """A word: the usual icon for no is a red cross, as if something were wrong."""
        return "again" if event.again else ""

    @admin.display
    def task(self, event: SagaEvent) -> str | None:
        """Where it ran, in Flower."""
        return event.task_id and format_html('<a href="{}">task</a>', flower_task_url(event.task_id))

    @admin.display
    def saga(self, event: SagaEvent) -> str:
        return unbroken(event.saga_id)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[SagaEvent], search_term: str
    ) -> tuple[QuerySet[SagaEvent], bool]:
        if not search_term.strip():
            return queryset, False
        saga, number = as_uuid(search_term.strip()), as_number(search_term.strip())
        if number is not None:
            saga = Order.objects.filter(id=number).values_list("saga_id", flat=True).first()
        if saga is None:
            return queryset.none(), False
        return queryset.filter(Q(saga_id=saga) | Q(event_id=saga)), False


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = ("id", "source", "participant", "topic", "step", "message", "saga_id", "attempts", "received")
    list_filter = ("source", "participant", "topic")
    ordering = ("-id",)
    search_fields = ("digest",)
    search_help_text = "saga id, or the digest that a log printed"
    readonly_fields = ("shown_body",)

    @admin.display(ordering="received_at")
    def received(self, letter: DeadLetter) -> str | None:
        return moment(letter.received_at)

    @admin.display(description="body")
    def shown_body(self, letter: DeadLetter) -> str:
        """The beginning of it, with what is no text as escapes."""
        return bytes(letter.body[:SHOWN_BYTES]).decode("utf-8", "backslashreplace")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter], search_term: str
    ) -> tuple[QuerySet[DeadLetter], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        saga = as_uuid(term) if "-" in term else None
        return queryset.filter(Q(saga_id=saga) if saga else Q(digest__startswith=term.lower())), False
