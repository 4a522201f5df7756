"""Lists that neither count nor skip: a page begins where another ended, however far back."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import DataError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.text import capfirst

AFTER, BEFORE, LAST = "after", "before", "last"
"""Query parameters: the rows after this key, those before it, the last ones."""


class KeysetList(ChangeList):
    """A page of a list in the order of one unique, indexed field: see :meth:`webapp.read_only.ReadOnlyAdmin.in_order`.

    :ivar next_page: the query string of the page after this one, None when there is none; likewise the others.
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
        for name in (AFTER, BEFORE, LAST):  # other filters begin at their first page
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: HttpRequest) -> None:
        asked = request.GET
        filtered = bool(self.get_filters_params())
        queryset, key = self.model_admin.in_order(self.queryset, filtered=filtered)  # type: ignore[attr-defined]
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
        self._link(edges, before=more if backwards else AFTER in asked, after=LAST not in asked if backwards else more)
        self.result_list = rows  # a list, read already: what fails, fails here
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
