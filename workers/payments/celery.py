"""`celery -A workers.payments worker`."""

from workers.pool import pool

app = pool("payments")
