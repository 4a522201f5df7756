"""The application of ``orders`` for ``celery -A workers.orders worker``."""

from workers.celery_app import pool

app = pool("orders")
