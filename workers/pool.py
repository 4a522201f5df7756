"""A participant's Celery application, made from the settings.

Settings that are refused end the process here, with the message alone: Celery would put thirty lines of traceback around it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from logging.config import dictConfig
from typing import Any

from celery import Celery, signals

from ordersaga.celery.app import make_pool
from ordersaga.envelope import Keyring
from ordersaga.errors import ConfigurationError, DeclarationError
from ordersaga.guests.structlog import configuration
from workers.settings import settings


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (ConfigurationError, DeclarationError) as refused:
        sys.exit(str(refused))


with _told():
    from workers.choreography import choreography  # the saga's contract is made of the settings


def pool(name: str, *, bootsteps: Sequence[type] = ()) -> Celery:
    """The pool of the participant of that name, for Celery's command line; its log is as the settings wish."""
    app = application(name, bootsteps=bootsteps)
    set_up_logs()  # Celery asks only where a worker starts; Flower would be left with Django's
    signals.setup_logging.connect(set_up_logs)
    signals.celeryd_init.connect(_without_banner)
    return app


def application(name: str, *, bootsteps: Sequence[type] = ()) -> Celery:
    """The Celery application of the participant of that name."""
    with _told():
        whole = choreography()
    return make_pool(
        whole.participants[name],
        whole,
        broker_url=settings().broker_url,
        keyring=Keyring.parse(settings().signing_keys),
        linger=settings().linger,
        run_dir=settings().run_dir,
        bootsteps=bootsteps,
    )


def set_up_logs(loglevel: int | str | None = logging.INFO, logfile: str | None = None, **_: Any) -> None:
    """Celery's ``setup_logging``: its options ``--loglevel`` and ``--logfile`` hold, its formats do not."""
    ours = settings()
    logging.captureWarnings(True)
    dictConfig(configuration(json=ours.logs_json, level=loglevel or logging.INFO, file=logfile, words=ours.debug))


def _without_banner(instance: Any, **_: Any) -> None:
    """What a machine reads is lines of JSON and nothing else."""
    instance.quiet = instance.quiet or settings().logs_json
