"""`celery -A workers.orders worker`."""

from workers.pool import pool

app = pool("orders")
