"""The app ``orders``."""

from __future__ import annotations

from django.apps import AppConfig

from ordersaga.contrib.django import prepare_sessions


class OrdersConfig(AppConfig):
    name = "webapp.orders"
    label = "orders"
    verbose_name = "Orders"

    def ready(self) -> None:
        """Sessions are prepared in all processes that use Django: the web, commands and pools."""
        prepare_sessions()
