"""Operator actions in the admin: chosen by a button or for selected rows, confirmed with a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Model
from django.forms import CharField, Form, Textarea
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from webapp.admin.base import ReadOnlyAdmin
from webapp.operators import MAX_REASON_LENGTH, ActionRefused, recorded_name, required_reason

MAX_SELECTED = 50
"""The rows of one page."""


@dataclass(frozen=True)
class Action:
    """What an operator may do with one row.

    :ivar permission: ``app.codename``; without it the request is answered with 403 and no button is shown.
    :ivar explanation: what the action does, shown on the confirmation page.
    :ivar do: ``do(pk, by=…, reason=…)``; returns a sentence about what was done, or raises ActionRefused.
    :ivar offered: whether the page of a row shows the button; ``do`` checks again.
    """

    name: str
    verb: str
    permission: str
    explanation: str
    do: Callable[..., str]
    offered: Callable[[Any], bool]


class ReasonForm(Form):
    reason = CharField(
        max_length=MAX_REASON_LENGTH,
        widget=Textarea(attrs={"rows": 3, "cols": 60}),
        help_text="Recorded in the saga's timeline and the admin's log. Do not name customers or addresses.",
    )

    def clean_reason(self) -> str:
        try:
            return required_reason(self.cleaned_data["reason"])
        except ActionRefused as refused:
            raise ValidationError(str(refused)) from None


def log_action(request: HttpRequest, row: Model, flag: int, text: str) -> None:
    """Write an entry into the admin's log, in the transaction of the action."""
    user_id = cast("int", request.user.pk)  # only logged-in staff reach this
    LogEntry.objects.log_actions(user_id, [row], flag, change_message=text, single_object=True)


class ActionAdmin(ReadOnlyAdmin):
    """A read-only admin with operator actions."""

    operator_actions: Sequence[Action] = ()
    change_form_template = "admin/acting/form.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.action_view)
        return [path("act/<slug:name>/", view, name=self._url_name("act")), *super().get_urls()]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        offered = {
            action.name: (self._make_admin_action(action), action.name, f"{action.verb} …")
            for action in self._permitted_actions(request)
        }
        return {**super().get_actions(request), **offered}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context.get("original")
        context["operator_actions"] = [
            (action, self._action_url(action, [row.pk]))
            for action in self._permitted_actions(request)
            if row is not None and action.offered(row)
        ]
        return super().render_change_form(request, context, *args, **kwargs)

    def action_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Ask for a reason; once it is given, act on each row named by ``?id=`` and show the results."""
        action = next((action for action in self.operator_actions if action.name == name), None)
        if action is None:
            raise Http404
        if not (self.has_view_permission(request) and request.user.has_perm(action.permission)):
            raise PermissionDenied(action.permission)
        rows = self._selected_rows(request)
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            return self._confirmation_page(request, action, rows, form)
        for row in rows:
            self._perform(request, action, row, form.cleaned_data["reason"])
        return HttpResponseRedirect(self._page_of(rows))

    def _perform(self, request: HttpRequest, action: Action, row: Any, reason: str) -> None:
        try:
            with transaction.atomic():
                result = action.do(row.pk, by=recorded_name(request.user), reason=reason)
                log_action(request, row, CHANGE, f"{action.verb}: {result} Reason: {reason}")
        except ActionRefused as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, result)

    def _confirmation_page(
        self, request: HttpRequest, action: Action, rows: Sequence[Any], form: Form
    ) -> HttpResponse:
        count = len(rows)
        what = self.opts.verbose_name if count == 1 else f"{count} {self.opts.verbose_name_plural}"
        form.fields["reason"].widget.attrs["autofocus"] = True
        context = {
            **self.admin_site.each_context(request),
            "title": f"{action.verb} {what}",
            "opts": self.opts,
            "action": action,
            "objects": [(row, self._page_of([row])) for row in rows],
            "form": form,
            "back": self._page_of(rows),
        }
        return TemplateResponse(request, "admin/acting/confirm.html", context)

    def _selected_rows(self, request: HttpRequest) -> list[Any]:
        ids = list(dict.fromkeys(request.GET.getlist("id")))
        if not 0 < len(ids) <= MAX_SELECTED:
            raise Http404(f"id: choose 1 to {MAX_SELECTED}")
        try:
            keys = [self.opts.pk.to_python(id_) for id_ in ids]
            found = self.get_queryset(request).in_bulk(keys)
        except (ValidationError, ValueError, OverflowError):
            raise Http404("id: not a valid id") from None
        if len(found) < len(keys):
            raise Http404(f"id: no such {self.opts.verbose_name}")
        return [found[key] for key in keys]

    def _make_admin_action(self, action: Action) -> Callable[..., HttpResponse | None]:
        def confirm(_: Any, request: HttpRequest, selected: Any) -> HttpResponse | None:
            keys = [str(key) for key in selected.values_list("pk", flat=True)[: MAX_SELECTED + 1]]
            if len(keys) > MAX_SELECTED:
                messages.error(request, f"Choose at most {MAX_SELECTED} at once.")
                return None
            return HttpResponseRedirect(self._action_url(action, keys)) if keys else None

        return confirm

    def _permitted_actions(self, request: HttpRequest) -> list[Action]:
        return [action for action in self.operator_actions if request.user.has_perm(action.permission)]

    def _action_url(self, action: Action, keys: Sequence[Any]) -> str:
        page = reverse(f"admin:{self._url_name('act')}", args=[action.name])
        return f"{page}?{urlencode([('id', key) for key in keys])}"

    def _page_of(self, rows: Sequence[Any]) -> str:
        """The page of a single row, or else the list."""
        if len(rows) == 1:
            return reverse(f"admin:{self._url_name('change')}", args=[rows[0].pk])
        return reverse(f"admin:{self._url_name('changelist')}")

    def _url_name(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"
