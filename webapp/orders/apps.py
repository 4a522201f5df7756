"""The app of orders, sagas and products."""

from __future__ import annotations

from django.apps import AppConfig

from ordersaga.contrib.django import prepare_sessions


class OrdersConfig(AppConfig):
    name = "webapp.orders"
    label = "orders"
    verbose_name = "Orders"

    def ready(self) -> None:
        """Prepare database sessions in all processes that use Django: the web, commands and pools."""
        prepare_sessions()
