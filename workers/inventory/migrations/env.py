"""Alembic's way in; what it does is in :mod:`workers.migrate`."""

from workers.inventory.models import Base
from workers.migrate import run

run(Base.metadata)
