"""The application of ``payments`` for ``celery -A workers.payments worker``."""

from workers.celery_app import pool

app = pool("payments")
