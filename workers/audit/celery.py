"""`celery -A workers.audit worker`."""

from workers.pool import pool

app = pool("audit")
