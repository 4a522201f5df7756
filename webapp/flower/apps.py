"""The app's name and place."""

from __future__ import annotations

from django.apps import AppConfig


class FlowerConfig(AppConfig):
    name = "webapp.flower"
    label = "pools"  # so that the admin's own pages of this app do not stand under admin/flower/
    verbose_name = "Pools"
