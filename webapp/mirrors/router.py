"""Routes the models of stock and ledger to their participants' databases, which this process only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ordersaga.contrib.django import SESSION
from webapp.db import to_django_config

if TYPE_CHECKING:  # the settings import this, before there are models
    from django.db.models import Model

DOMAINS: tuple[Literal["inventory", "payments"], ...] = ("inventory", "payments")
SESSION_SETTINGS = {"default_transaction_read_only": "on", "statement_timeout": "5s"}
"""The settings of each session. Behind a connection pooler the settings of the role apply instead."""


class ReadOnlyMirror(Exception):
    """The web process tried to write into a participant's database."""


def reader_alias(domain: str) -> str:
    """Return the alias of the connection to a participant's database."""
    return f"{domain}_reader"


def reader_config(url: str) -> dict[str, Any]:
    """Return a read-only entry of ``DATABASES``."""
    return {
        **to_django_config(url),
        SESSION: SESSION_SETTINGS,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


class MirrorRouter:
    """Routes each mirrored model to its database and refuses writes and migrations there."""

    def db_for_read(self, model: type[Model], **_: Any) -> str | None:
        return reader_alias(model.domain) if model._meta.app_label == "mirrors" else None  # type: ignore[attr-defined]

    def db_for_write(self, model: type[Model], **_: Any) -> str | None:
        """:raises ReadOnlyMirror: for stock and ledger."""
        if model._meta.app_label == "mirrors":
            raise ReadOnlyMirror(f"{model._meta.label} is written only by its participant")
        return None

    def allow_migrate(self, db: str, _app: str, **_hints: Any) -> bool | None:
        return False if db in {reader_alias(domain) for domain in DOMAINS} else None
