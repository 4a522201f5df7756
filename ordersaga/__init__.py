"""OrderSaga: choreography-based sagas, applied effectively once.

A step is a function from one signal to the next. The transaction that causes a signal records it; a relay
publishes it, and each participant that consumes it applies it effectively once. If a step refuses, every
participant undoes its part.

Adapters are imported from their packages: ``ordersaga.celery.app``, ``ordersaga.contrib`` and
``ordersaga.testing``.
"""

from ordersaga.batch import Batch, SagaId
from ordersaga.choreography import Choreography
from ordersaga.errors import (
    DeclarationError,
    NoTransaction,
    OrderSagaError,
    SignalTooLarge,
    UnknownSaga,
    WrongDatabase,
)
from ordersaga.participant import Event, Participant
from ordersaga.saga import Saga, SagaStatus, Watchdog
from ordersaga.signal import DeadlinePassed, Part, Refusal, Signal, StepFailed
from ordersaga.signing import Keyring
from ordersaga.step import Retry
from ordersaga.tables import create_tables

__all__ = [  # noqa: RUF022 - grouped by use
    # declare signals
    "Signal",
    "Part",
    "Refusal",
    "DeadlinePassed",
    "StepFailed",
    # declare a saga and its participants
    "Saga",
    "Participant",
    "Choreography",
    "Retry",
    "Watchdog",
    # what functions receive
    "Batch",
    "SagaId",
    "SagaStatus",
    "Event",
    # run it
    "Keyring",
    "create_tables",
    # errors
    "OrderSagaError",
    "DeclarationError",
    "NoTransaction",
    "SignalTooLarge",
    "UnknownSaga",
    "WrongDatabase",
]
