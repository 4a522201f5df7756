"""`celery -A workers.audit worker`."""

from workers.django import setup
from workers.pool import pool

setup()

from ordersaga.celery.dead_letters import drain  # noqa: E402 - what follows stands on Django's models
from workers.audit.dead_letters import keep  # noqa: E402

app = pool("audit", bootsteps=[drain(keep)])
