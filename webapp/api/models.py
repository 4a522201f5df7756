"""Tokens of the HTTP API, and how much of its budget each has used."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

DEFAULT_PER_MINUTE = 600
MAX_PER_MINUTE = 1_000_000


class Scope(models.TextChoices):
    """What a token may do."""

    READ_ORDERS = "orders:read", "read orders"
    WRITE_ORDERS = "orders:write", "place and cancel orders"
    READ_PRODUCTS = "products:read", "read products"
    WRITE_PRODUCTS = "products:write", "add, change and withdraw products"


class Token(models.Model):
    """Access for one client. Only a digest of the secret is stored."""

    name = models.CharField(max_length=100, help_text="which client uses it")
    prefix = models.CharField(max_length=12, editable=False, help_text="how the token begins")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.TextField(choices=Scope), help_text="what it may do")
    per_minute = models.PositiveIntegerField(
        "requests per minute", default=DEFAULT_PER_MINUTE, help_text="further requests are answered with 429"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="leave empty for no expiry")
    revoked_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False, help_text="to the minute")

    class Meta:
        verbose_name = "API token"
        default_permissions = ("add", "view")
        permissions = [("revoke_token", "Can revoke API tokens")]
        constraints = [
            models.CheckConstraint(
                condition=Q(per_minute__gte=1, per_minute__lte=MAX_PER_MINUTE), name="api_token_rate_sane"
            ),
            models.CheckConstraint(condition=~Q(scopes=[]), name="api_token_has_scopes"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class Usage(models.Model):
    """The requests of a token in its latest minute. The table is unlogged, so a crash empties it."""

    token = models.OneToOneField(Token, on_delete=models.CASCADE, primary_key=True, related_name="usage")
    minute = models.BigIntegerField(help_text="minutes since 1970")
    requests = models.PositiveIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.requests} in minute {self.minute}"
