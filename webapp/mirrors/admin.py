"""The admin pages of stock and ledger, which read the participants' databases.

When such a database cannot be read, a page with the reason and the remedy is shown (HTTP 503).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.connection import ConnectionDoesNotExist
from django.utils.html import format_html, format_html_join

from ordersaga.database import first_line
from webapp.admin.base import ReadOnlyAdmin, parse_number, parse_uuid
from webapp.admin.formatting import format_millisecond, format_money, nowrap
from webapp.mirrors.models import LedgerEntry, LedgerTransaction, Movement, Reservation, Stock, Wallet
from webapp.orders.models import Order
from workers.settings import PREFIX

# ruff: noqa: ARG002 - Django passes its hooks arguments that they do not need

UNAVAILABLE = 503


class MirrorAdmin(ReadOnlyAdmin):
    """A read-only list of a table in the database of ``model.domain``."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return self._read(request, lambda: super(MirrorAdmin, self).changelist_view(request, extra_context))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        show = super().changeform_view
        return self._read(request, lambda: show(request, object_id, form_url, extra_context))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        raise PermissionDenied

    def _read(self, request: HttpRequest, show: Callable[[], HttpResponse]) -> HttpResponse:
        try:
            answer = show()
            # rendered here, because rendering reads the database
            return answer.render() if isinstance(answer, TemplateResponse) else answer
        except ConnectionDoesNotExist:
            return self._away(
                request,
                "No read-only connection is configured.",
                "Set the variable to the address of a role that may only read.",
            )
        except ProgrammingError as fault:
            return self._away(
                request,
                first_line(fault),
                "Run manage.py migrate to create its tables, and manage.py provision to create the role.",
            )
        except (OperationalError, InterfaceError) as fault:
            return self._away(request, first_line(fault), "Check that its PostgreSQL is running.")

    def _away(self, request: HttpRequest, fault: str, remedy: str) -> HttpResponse:
        domain: str = self.model.domain
        context = {
            **self.admin_site.each_context(request),
            "title": f"The {domain} database cannot be read",
            "opts": self.opts,
            "fault": fault,
            "remedy": remedy,
            "variable": f"{PREFIX}{domain.upper()}_READER_URL",
        }
        return TemplateResponse(
            request, "admin/mirrors/unavailable.html", context, status=UNAVAILABLE
        ).render()


SAGA_SEARCH_HELP = "order number or saga id"


def saga_link(saga: UUID | None) -> str:
    if saga is None:
        return "none"
    return format_html('<a href="{}">{}</a>', reverse("admin:orders_saga_change", args=[saga]), nowrap(saga))


def filter_by_saga(queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
    """Select the rows of a saga by its id or its order number, which the orders database resolves."""
    if not (term := term.strip()):
        return queryset
    saga = parse_uuid(term)
    if (number := parse_number(term)) is not None:
        saga = Order.objects.filter(id=number).values_list("saga_id", flat=True).first()
    return queryset.none() if saga is None else queryset.filter(saga_id=saga)


class KeySearchAdmin(MirrorAdmin):
    """A list that is searched by the complete key."""

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return queryset.filter(pk=term) if term else queryset, False


class SagaSearchAdmin(MirrorAdmin):
    """A list that is searched by saga or order."""

    search_fields = ("saga_id",)  # shows the search box; get_search_results decides
    search_help_text = SAGA_SEARCH_HELP

    @admin.display(description="saga")
    def its_saga(self, row: Any) -> str:
        return saga_link(row.saga_id)

    @admin.display(description="at")
    def moved(self, row: Any) -> str | None:
        return format_millisecond(row.at)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return filter_by_saga(queryset, search_term), False


@admin.register(Stock)
class StockAdmin(KeySearchAdmin):
    list_display = fields = readonly_fields = ("sku", "on_hand", "held", "sold", "received")
    ordering = ("sku",)
    search_fields = ("sku",)  # shows the search box; get_search_results decides
    search_help_text = "the complete SKU"


@admin.register(Movement)
class MovementAdmin(SagaSearchAdmin):
    list_display = ("id", "moved", "sku", "kind", "quantity", "its_saga")
    fields = (*list_display, "reservations")
    readonly_fields = fields
    ordering = ("-id",)

    @admin.display(description="reservations of the saga")
    def reservations(self, movement: Movement) -> str:
        if movement.saga_id is None:
            return "none: received goods"
        lines = Reservation.objects.filter(saga_id=movement.saga_id).order_by("line")
        return _format_lines(
            (f"line {r.line}: {r.quantity} × {r.sku}, {r.state} since", format_millisecond(r.at))
            for r in lines
        )


@admin.register(Wallet)
class WalletAdmin(KeySearchAdmin):
    list_display = ("customer", "balance_shown", "blocked", "limit")
    fields = readonly_fields = list_display
    ordering = ("customer",)
    search_fields = ("customer",)  # shows the search box; get_search_results decides
    search_help_text = "the customer's complete key"

    @admin.display(description="balance")
    def balance_shown(self, wallet: Wallet) -> str:
        return format_money(wallet.balance, wallet.currency)

    @admin.display(description="limit per order")
    def limit(self, wallet: Wallet) -> str:
        return "" if wallet.order_limit is None else format_money(wallet.order_limit, wallet.currency)


@admin.register(LedgerTransaction)
class LedgerTransactionAdmin(SagaSearchAdmin):
    list_display = ("id", "moved", "what", "amount", "order_number", "its_saga")
    fields = (*list_display, "entries_shown")
    readonly_fields = fields
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerTransaction]:
        """Annotate the amount that each transaction moves: the sum of its positive entries."""
        added = LedgerEntry.objects.filter(transaction=OuterRef("pk"), amount__gt=0).order_by()
        moved = added.values("currency").annotate(moved=Sum("amount"))
        return (
            super()
            .get_queryset(request)
            .annotate(
                moved_amount=Subquery(moved.values("moved")[:1]),
                moved_currency=Subquery(moved.values("currency")[:1]),
            )
        )

    @admin.display
    def amount(self, row: Any) -> str:
        return "free" if row.moved_amount is None else format_money(int(row.moved_amount), row.moved_currency)

    @admin.display(description="kind")
    def what(self, row: LedgerTransaction) -> str:
        return row.what

    @admin.display(description="entries")
    def entries_shown(self, row: LedgerTransaction) -> str:
        entries = LedgerEntry.objects.filter(transaction=row.pk).order_by("account", "currency")
        return _format_lines(
            (f"{entry.account}:", format_money(entry.amount, entry.currency)) for entry in entries
        )


def _format_lines(rows: Any) -> str:
    return format_html_join("", "<div>{} {}</div>", rows) or "none"
