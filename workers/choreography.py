"""The order saga, composed: the one place that imports every participant."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from ordersaga import Choreography, Participant
from ordersaga.errors import ConfigurationError
from workers.django_setup import setup
from workers.order_saga import order_saga
from workers.settings import settings


@cache
def choreography() -> Choreography:
    """All participants of the settings, checked.

    :raises DeclarationError: when they do not fit together.
    :raises ConfigurationError: when a module of the settings holds no participant.
    """
    setup()
    return Choreography(
        order_saga, [_load(module) for module in (*settings().participants, *settings().observers)]
    )


def _load(module: str) -> Participant:
    steps = f"{module}.steps"
    try:
        participant = import_module(steps).participant
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigurationError(
            f"ORDERSAGA_PARTICIPANTS or ORDERSAGA_OBSERVERS names {module}, and {steps} holds no `participant`: {error}"
        ) from error
    if not isinstance(participant, Participant) or participant.name != module.rsplit(".", 1)[-1]:
        raise ConfigurationError(
            f"{steps}.participant must be a Participant named {module.rsplit('.', 1)[-1]!r}"
        )
    return participant
