"""A participant's Celery application, made from the settings."""

from __future__ import annotations

from collections.abc import Sequence

from celery import Celery

from ordersaga.celery.app import make_pool
from ordersaga.envelope import Keyring
from workers.choreography import choreography
from workers.settings import settings


def pool(name: str, *, bootsteps: Sequence[type] = ()) -> Celery:
    """The pool of the participant of that name."""
    whole = choreography()
    return make_pool(
        whole.participants[name],
        whole,
        broker_url=settings().broker_url,
        keyring=Keyring.parse(settings().signing_keys),
        linger=settings().linger,
        bootsteps=bootsteps,
    )
