"""The demo's servers: those named in the environment, and embedded ones for the others."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import psycopg2

from ordersaga.database import first_line
from ordersaga.errors import InvalidConnectionString
from ordersaga.sessions import connect
from webapp.ops import embedded
from webapp.ops.demo import reaper
from webapp.ops.demo.output import DemoFailed
from webapp.ops.demo.paths import Paths, display_path
from workers.settings import DOMAINS

BROKER = "ORDERSAGA_BROKER_URL"
BROKERS = ("amqp://", "amqps://", "pyamqp://", "pgmq://")
DATABASES: dict[str, str] = {name: f"ORDERSAGA_{name.upper()}_DATABASE_URL" for name in DOMAINS}


@dataclass(frozen=True)
class Servers:
    """The addresses of given servers by variable; only the environment counts, not ``.env``."""

    given: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Servers:
        """``BROKER`` is a short name of the broker's variable and takes precedence."""
        wanted = {
            variable: environment[variable]
            for variable in (*DATABASES.values(), BROKER)
            if environment.get(variable)
        }
        if environment.get("BROKER"):
            wanted[BROKER] = environment["BROKER"]
        return cls(wanted)

    @property
    def embedded(self) -> bool:
        """Whether an embedded PostgreSQL is needed."""
        return len(self.given) <= len(DATABASES)

    def describe(self, paths: Paths) -> str:
        """Describe the servers without passwords."""
        if not self.given:
            return f"embedded PostgreSQL 18 and broker, {display_path(paths.postgres)}"
        names = [name for name, variable in DATABASES.items() if variable in self.given]
        parts = [f"yours for {', '.join(names)}"] if names else []
        parts += ["your broker"] if BROKER in self.given else []
        return ", ".join([*parts, *(["the rest embedded"] if self.embedded else [])])

    def start(self, paths: Paths) -> dict[str, str]:
        """Start what is missing; return all addresses by variable.

        :raises DemoFailed: when a server does not answer.
        """
        for name, variable in DATABASES.items():
            if variable in self.given:
                _require_database(name, variable, self.given[variable])
        if BROKER in self.given:
            _require_broker(self.given[BROKER])
        if not self.embedded:
            return dict(self.given)
        reaper.record_started(paths, postgres=True)
        try:
            urls = embedded.start(paths.postgres).urls
        except (embedded.EmbeddedError, OSError) as error:
            fault, _, tail = str(error).partition("\n")
            raise DemoFailed(
                f"The embedded PostgreSQL does not start: {fault}",
                f"To start with new data: rm -r {display_path(paths.run)}",
                tail,
            ) from error
        made = {DATABASES.get(role, BROKER): url for role, url in urls.items()}
        return {**made, **self.given}


def environment(addresses: Mapping[str, str], secret_key: str) -> dict[str, str]:
    """Return the environment of the demo's processes."""
    return {**os.environ, **addresses, "ORDERSAGA_SECRET_KEY": secret_key, "PYTHONUNBUFFERED": "1"}


def as_shell(variables: Mapping[str, str]) -> str:
    """Return OrderSaga's variables as assignments for a shell."""
    ours = {name: value for name, value in variables.items() if name.startswith("ORDERSAGA_")}
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in sorted(ours.items()))


def _require_database(name: str, variable: str, url: str) -> None:
    try:
        connect(url, application_name="demo").close()
    except (psycopg2.Error, InvalidConnectionString) as error:
        reason = first_line(error)
        remedy = f"Start it and create the database, correct {variable}, or unset it to use an embedded one."
        raise DemoFailed(f"The {name} database does not answer: {reason}.", remedy) from error


def _require_broker(url: str) -> None:
    if not url.startswith(BROKERS):
        raise DemoFailed(
            "The broker's address has an unknown scheme.", "Use amqp://… (RabbitMQ) or pgmq://… (PostgreSQL)."
        )
    from celery import Celery

    from ordersaga.celery.app import configure_broker
    from ordersaga.celery.rabbitmq_transport import why_blocked
    from ordersaga.errors import ConfigurationError
    from webapp.ops.broker import describe_alarm

    try:
        app = Celery("demo", set_as_current=False, fixups=[])
        app.conf.update(configure_broker(url))
        with app.connection_for_write(connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=10)
            reason = why_blocked(connection)
    except ConfigurationError as error:
        raise DemoFailed("The broker's address cannot be used.", f"{error}.") from error
    except Exception as error:
        reason = first_line(error)
        remedy = f"Start it, correct BROKER or {BROKER}, or unset both to use an embedded one."
        raise DemoFailed(f"The broker does not answer: {reason}.", remedy) from error
    if reason is not None:
        raise DemoFailed(
            describe_alarm(reason),
            "Free memory or disk space there, or unset the address to use an embedded one.",
        )


QUIET_SECONDS, MAX_SECONDS = 2.0, 60.0
"""Seconds without new events after which the trail is complete, and the longest wait in seconds."""
PAUSE = 0.25
LAST_EVENT = "SELECT max(id) FROM audit_sagaevent"


def wait_for_audit(orders_url: str, meanwhile: Callable[[], None]) -> None:
    """Wait until no event has been added to the audit trail for :data:`QUIET_SECONDS`."""
    connection = connect(orders_url, application_name="demo")
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            began = since = time.monotonic()
            last: object = None
            while time.monotonic() - since < QUIET_SECONDS and time.monotonic() - began < MAX_SECONDS:
                meanwhile()
                cursor.execute(LAST_EVENT)
                before, last = last, cursor.fetchone()
                if last != before:
                    since = time.monotonic()
                time.sleep(PAUSE)
    finally:
        connection.close()
