"""What lists are filtered by: choices that are known, or read from an index without reading the table."""

# ruff: noqa: ARG002 - Django hands its hooks more than each needs

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import connections
from django.db.models import Q, QuerySet
from django.http import HttpRequest

MOST = 50
"""As many values a filter offers."""


class Choice(admin.SimpleListFilter):
    """One of ``choices``: value, what is shown, and the condition, given the ``path`` from the listed model."""

    path = ""
    cases: tuple[tuple[str, str, dict[str, Any]], ...] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, shown) for value, shown, _ in self.cases]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        for value, _, condition in self.cases:
            if value == self.value():
                return queryset.filter(Q(**{f"{self.path}{name}": wanted for name, wanted in condition.items()}))
        return queryset


class Seen(admin.SimpleListFilter):
    """One of the values that stand in a column, found by skipping along its index: a probe for each, whatever the size."""

    column = ""

    def __init__(self, request: HttpRequest, params: Any, model: Any, model_admin: Any) -> None:
        self.title = self.title or self.column
        super().__init__(request, params, model, model_admin)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        model = model_admin.model
        table, column = model._meta.db_table, model._meta.get_field(self.column).column
        alias = model_admin.get_queryset(request).db
        quoted = {"table": connections[alias].ops.quote_name(table), "column": connections[alias].ops.quote_name(column)}
        with connections[alias].cursor() as cursor:
            cursor.execute(SKIP % quoted, [MOST])
            return [(value, value) for (value,) in cursor.fetchall()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.column: self.value()}) if self.value() is not None else queryset


SKIP = """
WITH RECURSIVE seen AS (
    (SELECT %(column)s AS value FROM %(table)s WHERE %(column)s IS NOT NULL ORDER BY %(column)s LIMIT 1)
    UNION ALL
    SELECT (SELECT %(column)s FROM %(table)s WHERE %(column)s > seen.value ORDER BY %(column)s LIMIT 1)
    FROM seen WHERE seen.value IS NOT NULL
)
SELECT value FROM seen WHERE value IS NOT NULL LIMIT %%s
"""
