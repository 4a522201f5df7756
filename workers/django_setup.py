"""Set up Django for the participants that use its models: orders and audit."""

from __future__ import annotations

import os

import django
from django.apps import apps


def setup() -> None:
    """Load Django's apps once, before a module with models is imported."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    if not apps.ready:
        django.setup()
