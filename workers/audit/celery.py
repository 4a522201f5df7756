"""The application of ``audit`` for ``celery -A workers.audit worker``."""

from workers.celery_app import pool
from workers.django_setup import setup

setup()

from ordersaga.celery.dead_letters import drain  # noqa: E402 - needs Django's models
from workers.audit.dead_letters import keep  # noqa: E402

app = pool("audit", bootsteps=[drain(keep)])
