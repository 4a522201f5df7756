"""The entry of the admin's index that redirects to Flower."""

# ruff: noqa: ARG002 - Django passes its hooks arguments that they do not need

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
        return True  # the admin's index and Flower are both open to all staff

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponseRedirect:
        return HttpResponseRedirect(flower_url())
