"""The app of the Flower proxy."""

from __future__ import annotations

from django.apps import AppConfig


class FlowerConfig(AppConfig):
    name = "webapp.flower"
    label = "pools"  # keeps the admin's pages of this app out of admin/flower/, which is the proxy's
    verbose_name = "Pools"
