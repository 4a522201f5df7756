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
    """A page of a list in the order of its admin's ``ordering``, which names one unique, indexed field.

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
        backwards = AFTER not in asked and (BEFORE in asked or LAST in asked)
        try:
            rows = list(self._rows(asked.get(AFTER), asked.get(BEFORE), backwards=backwards)[: self.list_per_page + 1])
        except (ValueError, TypeError, ValidationError, DataError):
            raise IncorrectLookupParameters from None
        more, rows = len(rows) > self.list_per_page, rows[: self.list_per_page]
        if backwards:
            rows.reverse()
        self._link(rows, before=more if backwards else AFTER in asked, after=LAST not in asked if backwards else more)
        self.result_list = rows  # a list, read already: what fails, fails here
        self.result_count = len(rows)
        self.full_result_count = None  # never counted
        self.show_full_result_count, self.show_admin_actions = False, True
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(rows, self.list_per_page)

    def _rows(self, after: str | None, before: str | None, *, backwards: bool) -> QuerySet[Any]:
        [key] = self.model_admin.ordering or ()
        name, down = str(key).removeprefix("-"), str(key).startswith("-")
        rows = self.queryset.order_by(name if down == backwards else f"-{name}")
        edge = before if backwards else after
        return rows if edge is None else rows.filter(**{f"{name}__{'gt' if down == backwards else 'lt'}": edge})

    def _link(self, rows: list[Any], *, before: bool, after: bool) -> None:
        name = str((self.model_admin.ordering or ())[0]).removeprefix("-")
        if before:
            self.first_page = self.get_query_string({})
            self.previous_page = self.get_query_string({BEFORE: getattr(rows[0], name)}) if rows else self.first_page
        if after and rows:
            self.next_page = self.get_query_string({AFTER: getattr(rows[-1], name)})
            self.last_page = self.get_query_string({LAST: "1"})
