"""The tokens' pages: create one, and revoke it. The secret is shown once."""

# ruff: noqa: ARG002 - Django hands its hooks more than each needs

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from webapp.admin.formatting import format_second
from webapp.api.models import Scope, Token
from webapp.api.tokens import create_token, revoke_token


class TokenForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(choices=Scope, widget=forms.CheckboxSelectMultiple)

    class Meta:
        model = Token
        fields = ("name", "scopes", "per_minute", "expires_at")


@admin.register(Token)
class TokenAdmin(admin.ModelAdmin):
    form = TokenForm
    list_display = ("name", "prefix", "allows", "state", "last_used")
    actions = ("revoke",)
    ordering = ("-id",)

    @admin.display(description="may")
    def allows(self, token: Token) -> str:
        return ", ".join(str(Scope(scope).label) for scope in token.scopes)

    @admin.display(description="state")
    def state(self, token: Token) -> str:
        return (
            "revoked"
            if token.revoked_at
            else "valid"
            if token.expires_at is None
            else f"until {token.expires_at:%d %b %Y}"
        )

    @admin.display(description="last used", empty_value="never")
    def last_used(self, token: Token) -> str | None:
        return format_second(token.last_used_at)

    def has_change_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        """A token is revoked and replaced, not edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Token | None = None) -> bool:
        """A revoked token stays, so that its orders' records keep their meaning."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """For the action below."""
        return request.user.has_perm("api.revoke_token")

    def save_model(self, request: HttpRequest, obj: Token, form: forms.ModelForm, change: bool) -> None:
        """Create the token and show its secret."""
        given = form.cleaned_data
        made = create_token(
            given["name"], given["scopes"], per_minute=given["per_minute"], expires_at=given["expires_at"]
        )
        obj.pk, obj._state.adding = made.token.pk, False
        obj.prefix = made.token.prefix
        text = f"The token is {made.secret} – copy it now, because it is not shown again."
        messages.add_message(request, messages.WARNING, text)

    def response_add(
        self, request: HttpRequest, obj: Token, post_url_continue: str | None = None
    ) -> HttpResponse:
        """To the list, below the secret."""
        return HttpResponseRedirect(reverse("admin:api_token_changelist"))

    @admin.action(description="Revoke the selected tokens", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        """End them at once."""
        tokens: list[Any] = list(queryset)
        revoked = [token for token in tokens if revoke_token(token.pk)]
        for token in revoked:
            self.log_change(request, token, "Revoked.")
        self.message_user(request, f"{len(revoked)} of {len(tokens)} tokens revoked.")
