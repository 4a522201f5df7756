"""`celery -A tests.scenarios.loyalty worker`."""

from workers.pool import pool

app = pool("loyalty")
