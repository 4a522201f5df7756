"""Create a participant's Celery application from the settings.

Invalid settings end the process with their message alone; Celery would add thirty lines of traceback.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from logging.config import dictConfig
from typing import Any

import psycopg2
from celery import Celery, signals

from ordersaga.celery.app import create_app
from ordersaga.contrib.structlog import configuration
from ordersaga.errors import ConfigurationError, DeclarationError, PoolerRefused
from ordersaga.participant import Participant
from ordersaga.sessions import connect
from ordersaga.signing import Keyring
from workers.settings import DOMAINS, PREFIX, Domain, settings


@contextmanager
def _exit_on_invalid_settings() -> Iterator[None]:
    try:
        yield
    except (ConfigurationError, DeclarationError) as error:
        sys.exit(str(error))


with _exit_on_invalid_settings():
    from workers.choreography import choreography  # its import reads the settings


def pool(name: str, *, bootsteps: Sequence[type] = ()) -> Celery:
    """The application of a participant for Celery's command line, with logging by the settings."""
    app = application(name, bootsteps=bootsteps)
    set_up_logs()  # for Flower, where Celery does not send setup_logging
    signals.setup_logging.connect(set_up_logs)
    signals.celeryd_init.connect(_without_banner)
    signals.celeryd_init.connect(partial(_refuse_poolers, choreography().participants[name]), weak=False)
    return app


def application(name: str, *, bootsteps: Sequence[type] = ()) -> Celery:
    """The Celery application of a participant."""
    with _exit_on_invalid_settings():
        whole = choreography()
    return create_app(
        whole.participants[name],
        whole,
        broker_url=settings().broker_url,
        keyring=Keyring.parse(settings().signing_keys),
        linger=settings().linger,
        hold=settings().hold,
        run_dir=settings().run_dir,
        bootsteps=bootsteps,
    )


def set_up_logs(loglevel: int | str | None = logging.INFO, logfile: str | None = None, **_: Any) -> None:
    """Handle ``setup_logging``: apply ``--loglevel`` and ``--logfile``, and replace Celery's formats."""
    ours = settings()
    logging.captureWarnings(True)
    dictConfig(
        configuration(
            json=ours.logs_json, level=loglevel or logging.INFO, file=logfile, error_messages=ours.debug
        )
    )


def _refuse_poolers(participant: Participant, **_: Any) -> None:
    """End a worker whose relay or broker is behind a pooler; one that cannot connect yet starts and waits."""
    ours = settings()
    domain: Domain = participant.name if participant.name in DOMAINS else "orders"
    addresses = {ours.direct_variable(domain): participant.database.dsn}
    if ours.broker_url.startswith("pgmq"):
        addresses[f"{PREFIX}BROKER_URL"] = ours.broker_url
    for variable, address in addresses.items():
        remedy = f"set {PREFIX}{domain.upper()}_DIRECT_URL to" if "BROKER" not in variable else "name"
        try:
            connect(address, session_for="a relay", application_name=f"start of {participant.name}").close()
        except PoolerRefused:
            sys.exit(
                f"{variable} leads to a connection pooler in transaction mode, such as PgBouncer, which "
                f"shares sessions between clients: {remedy} the server itself."
            )
        except psycopg2.Error:
            continue


def _without_banner(instance: Any, **_: Any) -> None:
    """Suppress Celery's banner, which is not JSON."""
    instance.quiet = instance.quiet or settings().logs_json
