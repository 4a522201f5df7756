"""A participant's Celery application, made from the settings.

Settings that are refused end the process here, with the message alone: Celery would put thirty lines of
traceback around it.
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
def _told() -> Iterator[None]:
    try:
        yield
    except (ConfigurationError, DeclarationError) as refused:
        sys.exit(str(refused))


with _told():
    from workers.choreography import choreography  # the saga's contract is made of the settings


def pool(name: str, *, bootsteps: Sequence[type] = ()) -> Celery:
    """The pool of the participant of that name, for Celery's command line; its log is as the
    settings wish.
    """
    app = application(name, bootsteps=bootsteps)
    set_up_logs()  # Celery asks only where a worker starts; Flower would be left with Django's
    signals.setup_logging.connect(set_up_logs)
    signals.celeryd_init.connect(_without_banner)
    signals.celeryd_init.connect(partial(_refuse_poolers, choreography().participants[name]), weak=False)
    return app


def application(name: str, *, bootsteps: Sequence[type] = ()) -> Celery:
    """The Celery application of the participant of that name."""
    with _told():
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
    """Celery's ``setup_logging``: its options ``--loglevel`` and ``--logfile`` hold, its formats do not."""
    ours = settings()
    logging.captureWarnings(True)
    dictConfig(
        configuration(json=ours.logs_json, level=loglevel or logging.INFO, file=logfile, words=ours.debug)
    )


def _refuse_poolers(participant: Participant, **_: Any) -> None:
    """End a worker whose relay, or broker, would fail forever; one that cannot connect yet
    starts, and waits.
    """
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
                f"{variable} leads to a connection pooler in transaction mode, such as PgBouncer's, where its sessions are "
                f"others' as well: {remedy} the server itself."
            )
        except psycopg2.Error:
            continue


def _without_banner(instance: Any, **_: Any) -> None:
    """What a machine reads is lines of JSON and nothing else."""
    instance.quiet = instance.quiet or settings().logs_json
