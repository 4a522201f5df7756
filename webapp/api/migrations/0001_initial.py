"""Tokens of the HTTP API."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Token",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(help_text="which client uses it", max_length=100)),
                ("prefix", models.CharField(editable=False, help_text="how the token begins", max_length=12)),
                ("digest", models.CharField(editable=False, max_length=64, unique=True)),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(
                            choices=[
                                ("orders:read", "read orders"),
                                ("orders:write", "place and cancel orders"),
                                ("products:read", "read products"),
                                ("products:write", "add, change and withdraw products"),
                            ]
                        ),
                        help_text="what it may do",
                        size=None,
                    ),
                ),
                (
                    "per_minute",
                    models.PositiveIntegerField(
                        default=600,
                        help_text="further requests are answered with 429",
                        verbose_name="requests per minute",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), editable=False
                    ),
                ),
                (
                    "expires_at",
                    models.DateTimeField(blank=True, help_text="leave empty for no expiry", null=True),
                ),
                ("revoked_at", models.DateTimeField(editable=False, null=True)),
                ("last_used_at", models.DateTimeField(editable=False, help_text="to the minute", null=True)),
            ],
            options={
                "verbose_name": "API token",
                "permissions": [("revoke_token", "Can revoke API tokens")],
                "default_permissions": ("add", "view"),
            },
        ),
        migrations.CreateModel(
            name="Usage",
            fields=[
                (
                    "token",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="usage",
                        serialize=False,
                        to="api.token",
                    ),
                ),
                ("minute", models.BigIntegerField(help_text="minutes since 1970")),
                ("requests", models.PositiveIntegerField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.AddConstraint(
            model_name="token",
            constraint=models.CheckConstraint(
                condition=models.Q(("per_minute__gte", 1), ("per_minute__lte", 1000000)),
                name="api_token_rate_sane",
            ),
        ),
        migrations.AddConstraint(
            model_name="token",
            constraint=models.CheckConstraint(
                condition=models.Q(("scopes", []), _negated=True), name="api_token_has_scopes"
            ),
        ),
        # counters of the current minute: nothing is lost that matters when a crash empties them
        migrations.RunSQL("ALTER TABLE api_usage SET UNLOGGED", migrations.RunSQL.noop),
    ]
