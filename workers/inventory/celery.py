"""The application of ``inventory`` for ``celery -A workers.inventory worker``."""

from workers.celery_app import pool

app = pool("inventory")
