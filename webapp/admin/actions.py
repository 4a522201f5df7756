"""Acts of operators on the admin's pages: asked for by a button or for a selection, confirmed with a reason,
done by POST.
"""

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
"""As many as a page lists."""


@dataclass(frozen=True)
class Action:
    """What an operator may do to one listed thing.

    :ivar permission: ``app.codename``; whoever lacks it gets 403 and sees no button.
    :ivar explains: what it does, on the page that asks for the reason.
    :ivar do: ``do(pk, by=…, reason=…)``; gives a sentence that says what was done, or raises ActRefused.
    :ivar offered: whether a thing's page shows the button; ``do`` decides again.
    """

    name: str
    verb: str
    permission: str
    explains: str
    do: Callable[..., str]
    offered: Callable[[Any], bool]


class ReasonForm(Form):
    reason = CharField(
        max_length=MAX_REASON_LENGTH,
        widget=Textarea(attrs={"rows": 3, "cols": 60}),
        help_text="Stands in the saga's story and in the admin's log. No names or addresses of customers.",
    )

    def clean_reason(self) -> str:
        try:
            return required_reason(self.cleaned_data["reason"])
        except ActionRefused as refused:
            raise ValidationError(str(refused)) from None


def log_action(request: HttpRequest, thing: Model, flag: int, text: str) -> None:
    """Write an act into the admin's own log, in the transaction of the act."""
    by = cast("int", request.user.pk)  # only staff come here
    LogEntry.objects.log_actions(by, [thing], flag, change_message=text, single_object=True)


class ActionAdmin(ReadOnlyAdmin):
    """A read-only admin whose things can be acted on, by whoever has an act's permission."""

    operator_actions: Sequence[Action] = ()
    change_form_template = "admin/acting/form.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.action_view)
        return [path("act/<slug:name>/", view, name=self._url_name("act")), *super().get_urls()]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        offered = {
            act.name: (self._make_admin_action(act), act.name, f"{act.verb} …")
            for act in self._permitted_actions(request)
        }
        return {**super().get_actions(request), **offered}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        thing = context.get("original")
        context["acts"] = [
            (act, self._action_url(act, [thing.pk]))
            for act in self._permitted_actions(request)
            if thing is not None and act.offered(thing)
        ]
        return super().render_change_form(request, context, *args, **kwargs)

    def action_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """Ask for a reason; with one, act on each of the things named by ``?id=`` and say what
        became of it.
        """
        act = next((act for act in self.operator_actions if act.name == name), None)
        if act is None:
            raise Http404
        if not (self.has_view_permission(request) and request.user.has_perm(act.permission)):
            raise PermissionDenied(act.permission)
        things = self._selected_objects(request)
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if not form.is_valid():
            return self._confirmation_page(request, act, things, form)
        for thing in things:
            self._perform(request, act, thing, form.cleaned_data["reason"])
        where = (
            reverse(f"admin:{self._url_name('change')}", args=[things[0].pk])
            if len(things) == 1
            else self._list_url()
        )
        return HttpResponseRedirect(where)

    def _perform(self, request: HttpRequest, act: Action, thing: Any, reason: str) -> None:
        try:
            with transaction.atomic():
                told = act.do(thing.pk, by=recorded_name(request.user), reason=reason)
                log_action(request, thing, CHANGE, f"{act.verb}: {told} Reason: {reason}")
        except ActionRefused as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, told)

    def _confirmation_page(
        self, request: HttpRequest, act: Action, things: Sequence[Any], form: Form
    ) -> HttpResponse:
        count = len(things)
        form.fields["reason"].widget.attrs["autofocus"] = True
        context = {
            **self.admin_site.each_context(request),
            "title": f"{act.verb} {self.opts.verbose_name if count == 1 else f'{count} {self.opts.verbose_name_plural}'}",
            "opts": self.opts,
            "act": act,
            "things": [
                (thing, reverse(f"admin:{self._url_name('change')}", args=[thing.pk])) for thing in things
            ],
            "form": form,
            "back": reverse(f"admin:{self._url_name('change')}", args=[things[0].pk])
            if count == 1
            else self._list_url(),
        }
        return TemplateResponse(request, "admin/acting/confirm.html", context)

    def _selected_objects(self, request: HttpRequest) -> list[Any]:
        asked = list(dict.fromkeys(request.GET.getlist("id")))
        if not 0 < len(asked) <= MAX_SELECTED:
            raise Http404(f"id: choose 1 to {MAX_SELECTED}")
        try:
            keys = [self.opts.pk.to_python(key) for key in asked]
            found = self.get_queryset(request).in_bulk(keys)
        except (ValidationError, ValueError, OverflowError):
            raise Http404("id: is none of this list's") from None
        if len(found) < len(keys):
            raise Http404("id: there is no such thing (any more)")
        return [found[key] for key in keys]

    def _make_admin_action(self, act: Action) -> Callable[..., HttpResponse | None]:
        def choose(_: Any, request: HttpRequest, chosen: Any) -> HttpResponse | None:
            keys = [str(key) for key in chosen.values_list("pk", flat=True)[: MAX_SELECTED + 1]]
            if len(keys) > MAX_SELECTED:
                messages.error(request, f"Choose at most {MAX_SELECTED} at once.")
                return None
            return HttpResponseRedirect(self._action_url(act, keys)) if keys else None

        return choose

    def _permitted_actions(self, request: HttpRequest) -> list[Action]:
        return [act for act in self.operator_actions if request.user.has_perm(act.permission)]

    def _action_url(self, act: Action, keys: Sequence[Any]) -> str:
        page = reverse(f"admin:{self._url_name('act')}", args=[act.name])
        return f"{page}?{urlencode([('id', key) for key in keys])}"

    def _list_url(self) -> str:
        return reverse(f"admin:{self._url_name('changelist')}")

    def _url_name(self, page: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{page}"
