"""A participant's Celery application, made from the settings.

Settings that are refused end the process here, with the message alone: Celery would put thirty lines of traceback around it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from celery import Celery

from ordersaga.celery.app import make_pool
from ordersaga.envelope import Keyring
from ordersaga.errors import ConfigurationError, DeclarationError
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
    """The pool of the participant of that name."""
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
