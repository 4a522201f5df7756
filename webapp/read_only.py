"""Pages to look at: what the engine or a participant writes is not edited by hand."""

# ruff: noqa: ARG002 - Django hands its hooks more than each needs

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest

from webapp.keyset import KeysetList


class ReadOnly:
    """Mix into an admin or an inline: nobody adds, changes or deletes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(ReadOnly, admin.ModelAdmin):
    """A list that stays quick over millions of rows: nothing is counted, and it is read in the order of one key only."""

    change_list_template = "admin/keyset_list.html"
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count
    list_per_page = 50
    sortable_by = ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetList]:
        return KeysetList


def as_uuid(term: str) -> UUID | None:
    """``term`` as a UUID, if it is one."""
    try:
        return UUID(term)
    except ValueError:
        return None


def as_number(term: str) -> int | None:
    """``term`` as a number that fits a bigint, if it is one."""
    return int(term) if term.isascii() and term.isdigit() and len(term) <= 18 else None
