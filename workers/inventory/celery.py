"""`celery -A workers.inventory worker`."""

from workers.pool import pool

app = pool("inventory")
