"""Stock and ledger stand in their participants' databases, where this process only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ordersaga.contrib.django import SESSION
from webapp.db import to_django_config

if TYPE_CHECKING:  # the settings import this, before there are models
    from django.db.models import Model

DOMAINS: tuple[Literal["inventory", "payments"], ...] = ("inventory", "payments")
SESSION_SETTINGS = {"default_transaction_read_only": "on", "statement_timeout": "5s"}
"""Whatever the role may do elsewhere, and however long a page would take. Behind a connection pooler the
role's own hold.
"""


class ReadOnlyMirror(Exception):
    """Something here tried to write into a participant's database."""


def reader_alias(domain: str) -> str:
    """What Django calls the connection to a participant's books."""
    return f"{domain}_reader"


def reader_config(url: str) -> dict[str, Any]:
    """An entry of ``DATABASES`` that reads only."""
    return {
        **to_django_config(url),
        SESSION: SESSION_SETTINGS,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


class MirrorRouter:
    """Sends each model of the books to its database, and lets nobody write or migrate there."""

    def db_for_read(self, model: type[Model], **_: Any) -> str | None:
        return reader_alias(model.domain) if model._meta.app_label == "books" else None  # type: ignore[attr-defined]

    def db_for_write(self, model: type[Model], **_: Any) -> str | None:
        """:raises ReadOnlyBooks: for stock and ledger."""
        if model._meta.app_label == "books":
            raise ReadOnlyMirror(f"{model._meta.label} is written by its participant alone")
        return None

    def allow_migrate(self, db: str, _app: str, **_hints: Any) -> bool | None:
        return False if db in {reader_alias(domain) for domain in DOMAINS} else None
