"""`celery -A tests.scenarios.loyalty worker`."""

from workers.celery_app import pool

app = pool("loyalty")
