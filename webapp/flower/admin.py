"""Flower in the admin's index: an entry that leads there."""

# ruff: noqa: ARG002 - Django hands its hooks more than each needs

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponseRedirect

from webapp.admin.base import ReadOnly
from webapp.flower.links import flower_url
from webapp.flower.models import Pool


@admin.register(Pool)
class PoolAdmin(ReadOnly, admin.ModelAdmin):
    def has_module_permission(self, request: HttpRequest) -> bool:
        return True  # the admin's index is for staff alone, and so is Flower

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponseRedirect:
        return HttpResponseRedirect(flower_url())
