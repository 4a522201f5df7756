"""The app ``books``: stock and ledger, to look at."""

from __future__ import annotations

from django.apps import AppConfig


class BooksConfig(AppConfig):
    name = "webapp.mirrors"
    label = "books"
    verbose_name = "Stock and ledger"
