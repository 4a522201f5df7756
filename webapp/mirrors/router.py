"""Stock and ledger stand in their participants' databases, where this process only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ordersaga.contrib.django import SESSION
from webapp.db import django_database

if TYPE_CHECKING:  # the settings import this, before there are models
    from django.db.models import Model

DOMAINS: tuple[Literal["inventory", "payments"], ...] = ("inventory", "payments")
SETTINGS = {"default_transaction_read_only": "on", "statement_timeout": "5s"}
"""Whatever the role may do elsewhere, and however long a page would take. Behind a connection pooler the
role's own hold.
"""


class ReadOnlyBooks(Exception):
    """Something here tried to write into a participant's database."""


def alias(domain: str) -> str:
    """What Django calls the connection to a participant's books."""
    return f"{domain}_reader"


def reader_database(url: str) -> dict[str, Any]:
    """An entry of ``DATABASES`` that reads only."""
    return {**django_database(url), SESSION: SETTINGS, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}


class BooksRouter:
    """Sends each model of the books to its database, and lets nobody write or migrate there."""

    def db_for_read(self, model: type[Model], **_: Any) -> str | None:
        return alias(model.domain) if model._meta.app_label == "books" else None  # type: ignore[attr-defined]

    def db_for_write(self, model: type[Model], **_: Any) -> str | None:
        """:raises ReadOnlyBooks: for stock and ledger."""
        if model._meta.app_label == "books":
            raise ReadOnlyBooks(f"{model._meta.label} is written by its participant alone")
        return None

    def allow_migrate(self, db: str, _app: str, **_hints: Any) -> bool | None:
        return False if db in {alias(domain) for domain in DOMAINS} else None
