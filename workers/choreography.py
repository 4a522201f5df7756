"""The order saga as a whole: the only module that imports every participant."""

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
    """Load and check all participants and observers of the settings.

    :raises DeclarationError: when they do not fit together.
    :raises ConfigurationError: when a module of the settings holds no participant.
    """
    setup()
    participants = [_load(name, f"{name}.steps") for name in settings().participants]
    observers = [_load(name, f"{name}.writer") for name in settings().observers]
    return Choreography(order_saga, [*participants, *observers])


def _load(package: str, module: str) -> Participant:
    try:
        participant = import_module(module).participant
    except (ModuleNotFoundError, AttributeError) as error:
        setting = "ORDERSAGA_PARTICIPANTS or ORDERSAGA_OBSERVERS"
        fault = f"{setting} names {package}, and {module} holds no `participant`: {error}"
        raise ConfigurationError(fault) from error
    name = package.rpartition(".")[2]
    if not isinstance(participant, Participant) or participant.name != name:
        raise ConfigurationError(f"{module}.participant must be a Participant named {name!r}")
    return participant
