"""The three databases of the participants: migrated once a run, copied for every test."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import dataclass

from tests.support.postgres import Postgres
from tests.support.processes import ROOT
from tests.support.time_scale import scaled

OWNERS = ("orders", "inventory", "payments")

_numbers = itertools.count(1)


LOCK_WAITERS = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()
"""
"""Counts the sessions of a database that wait for a lock."""


@dataclass(frozen=True)
class Databases:
    """The URLs of a test's databases, each with its own role."""

    orders: str
    inventory: str
    payments: str

    @property
    def env(self) -> dict[str, str]:
        """The environment variables that name these databases."""
        urls = {f"ORDERSAGA_{owner.upper()}_DATABASE_URL": getattr(self, owner) for owner in OWNERS}
        return {"ORDERSAGA_ENV": "test", **urls}

    @property
    def names(self) -> list[str]:
        """The names of the databases, in the order of their owners."""
        return [getattr(self, owner).rpartition("/")[2] for owner in OWNERS]


def migrated_templates(postgres: Postgres) -> dict[str, str]:
    """Create three databases by ``manage.py migrate``; return their names by owner. No connection to them is
    left.
    """
    names = {owner: f"template_{owner}" for owner in OWNERS}
    for owner, name in names.items():
        postgres.create_role(owner)
        postgres.create_database(name, owner)
    env = Databases(**{owner: postgres.url(name, owner) for owner, name in names.items()}).env
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate"],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=scaled(120),
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"manage.py migrate ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return names


def copies(postgres: Postgres, templates: dict[str, str]) -> Databases:
    """Create a copy of each template."""
    number = next(_numbers)
    names = {owner: f"{owner}_{number}" for owner in OWNERS}
    postgres.create_databases({names[owner]: (owner, template) for owner, template in templates.items()})
    return Databases(**{owner: postgres.url(name, owner) for owner, name in names.items()})


def drop(postgres: Postgres, databases: Databases) -> None:
    postgres.drop_databases(*databases.names)
