"""The app of the read-only models of the participants' databases."""

from __future__ import annotations

from django.apps import AppConfig


class MirrorsConfig(AppConfig):
    name = "webapp.mirrors"
    verbose_name = "Stock and ledger"
