"""Django for the participants that stand on the stage's models: orders and audit."""

from __future__ import annotations

import os

import django
from django.apps import apps


def setup() -> None:
    """Load Django's apps once; call it before importing a module that uses models."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    if not apps.ready:
        django.setup()
