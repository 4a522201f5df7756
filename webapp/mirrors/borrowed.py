"""Pages over another participant's database: only looked at, and no worse than a sentence when it is away."""

# ruff: noqa: ARG002 - Django hands its hooks more than each needs

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.connection import ConnectionDoesNotExist

from ordersaga.database import first_line
from webapp.admin.base import ReadOnlyAdmin
from workers.settings import PREFIX

AWAY = 503


class BorrowedAdmin(ReadOnlyAdmin):
    """A read-only list over a table of ``model.domain``."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return self._read(request, lambda: super(BorrowedAdmin, self).changelist_view(request, extra_context))

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
            return (
                answer.render() if isinstance(answer, TemplateResponse) else answer
            )  # here, where its faults are met
        except ConnectionDoesNotExist:
            return self._away(
                request,
                "Nobody has said how it is read.",
                "Set it to the address of a role that may only read",
            )
        except ProgrammingError as fault:
            return self._away(
                request, first_line(fault), "manage.py migrate makes its tables, manage.py provision the role"
            )
        except (OperationalError, InterfaceError) as fault:
            return self._away(request, first_line(fault), "Is its PostgreSQL running?")

    def _away(self, request: HttpRequest, fault: str, remedy: str) -> HttpResponse:
        domain: str = self.model.domain
        context = {
            **self.admin_site.each_context(request),
            "title": f"The {domain} database cannot be read now",
            "opts": self.opts,
            "fault": fault,
            "remedy": remedy,
            "variable": f"{PREFIX}{domain.upper()}_READER_URL",
        }
        return TemplateResponse(request, "admin/books/away.html", context, status=AWAY).render()
