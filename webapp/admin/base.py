"""Read-only admin pages, and lists and filters that stay fast over millions of rows."""

# ruff: noqa: ARG002 - Django passes its hooks arguments that they do not need

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import DataError, connections
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.text import capfirst


class ReadOnly:
    """A mixin for an admin or an inline without permission to add, change or delete."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class KeysetAdmin(admin.ModelAdmin):
    """A list that stays fast over millions of rows: it counts nothing and is read in the order of one key."""

    change_list_template = "admin/keyset_list.html"
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each would count a filter's every value
    list_per_page = 50
    sortable_by = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetList]:
        return KeysetList

    def keyset_order(self, queryset: QuerySet[Any], *, filtered: bool) -> tuple[QuerySet[Any], str]:
        """Return the list's rows and their sort key: a unique and indexed field, descending after a ``-``.

        :param filtered: whether a filter is selected; a search does not count.
        """
        [key] = self.ordering or ()
        return queryset, str(key)


class ReadOnlyAdmin(ReadOnly, KeysetAdmin):
    """A :class:`KeysetAdmin` whose pages show and change nothing."""


def parse_uuid(term: str) -> UUID | None:
    """Return ``term`` as a UUID, or None."""
    try:
        return UUID(term)
    except ValueError:
        return None


def parse_number(term: str) -> int | None:
    """Return ``term`` as a number that fits a bigint, or None."""
    return int(term) if term.isascii() and term.isdigit() and len(term) <= 18 else None


AFTER, BEFORE, LAST = "after", "before", "last"
"""Query parameters: show the rows after this key, the rows before it, the last rows."""


class KeysetList(ChangeList):
    """One page of a list, sorted by the key of :meth:`KeysetAdmin.keyset_order`.

    :ivar next_page: the query string of the next page, or None; likewise the other three.
    """

    previous_page: str | None = None
    next_page: str | None = None
    first_page: str | None = None
    last_page: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = capfirst(str(self.opts.verbose_name_plural))

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        found = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in (AFTER, BEFORE, LAST)}

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        for name in (AFTER, BEFORE, LAST):  # the links of filters lead to their first page
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: HttpRequest) -> None:
        asked = request.GET
        filtered = bool(self.get_filters_params())
        queryset, key = self.model_admin.keyset_order(self.queryset, filtered=filtered)  # type: ignore[attr-defined]
        name, down = key.removeprefix("-"), key.startswith("-")
        backwards = AFTER not in asked and (BEFORE in asked or LAST in asked)
        try:
            rows = queryset.order_by(name if down == backwards else f"-{name}")
            if (edge := asked.get(BEFORE if backwards else AFTER)) is not None:
                rows = rows.filter(**{f"{name}__{'gt' if down == backwards else 'lt'}": edge})
            rows = list(rows[: self.list_per_page + 1])
        except (ValueError, TypeError, ValidationError, DataError):
            raise IncorrectLookupParameters from None
        more, rows = len(rows) > self.list_per_page, rows[: self.list_per_page]
        if backwards:
            rows.reverse()
        edges = [getattr(row, name) for row in rows]
        self._link(
            edges,
            before=more if backwards else AFTER in asked,
            after=LAST not in asked if backwards else more,
        )
        self.result_list = rows  # already read, so database errors are raised here
        self.result_count = len(rows)
        self.full_result_count = None  # never counted
        self.show_full_result_count, self.show_admin_actions = False, True
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(rows, self.list_per_page)

    def _link(self, edges: list[Any], *, before: bool, after: bool) -> None:
        if before:
            self.first_page = self.get_query_string({})
            self.previous_page = self.get_query_string({BEFORE: edges[0]}) if edges else self.first_page
        if after and edges:
            self.next_page = self.get_query_string({AFTER: edges[-1]})
            self.last_page = self.get_query_string({LAST: "1"})


MAX_VALUES = 50
"""The most values that a filter offers."""


class ChoiceFilter(admin.SimpleListFilter):
    """A filter with fixed choices: ``cases`` are value, label and condition.

    :cvar path: the lookup path from the listed model to the model of the conditions.
    """

    path = ""
    cases: tuple[tuple[str, str, dict[str, Any]], ...] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, label) for value, label, _ in self.cases]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        for value, _, condition in self.cases:
            if value == self.value():
                return queryset.filter(
                    Q(**{f"{self.path}{name}": wanted for name, wanted in condition.items()})
                )
        return queryset


class DistinctValueFilter(admin.SimpleListFilter):
    """A filter with the distinct values of an indexed column.

    It skips along the index, one probe for each value, so the size of the table does not matter.
    """

    column = ""

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self.title = self.title or self.column
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        model = model_admin.model
        table, column = model._meta.db_table, model._meta.get_field(self.column).column
        alias = model_admin.get_queryset(request).db
        quoted = {
            "table": connections[alias].ops.quote_name(table),
            "column": connections[alias].ops.quote_name(column),
        }
        with connections[alias].cursor() as cursor:
            cursor.execute(DISTINCT_VALUES % quoted, [MAX_VALUES])
            return [(value, value) for (value,) in cursor.fetchall()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.column: self.value()}) if self.value() is not None else queryset


DISTINCT_VALUES = """
WITH RECURSIVE seen AS (
    (SELECT %(column)s AS value FROM %(table)s WHERE %(column)s IS NOT NULL ORDER BY %(column)s LIMIT 1)
    UNION ALL
    SELECT (SELECT %(column)s FROM %(table)s WHERE %(column)s > seen.value ORDER BY %(column)s LIMIT 1)
    FROM seen WHERE seen.value IS NOT NULL
)
SELECT value FROM seen WHERE value IS NOT NULL LIMIT %%s
"""
