"""Alembic's way in; what it does is in :mod:`workers.migrate`."""

from workers.migrate import run
from workers.payments.models import Base

run(Base.metadata)
