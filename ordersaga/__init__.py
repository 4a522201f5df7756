"""OrderSaga: choreography-based sagas, applied effectively once.

A step is a function from one signal to the next. A signal is recorded in the transaction that caused it,
leaves in a batch, and is applied effectively once by every participant that listens. If a step refuses, every
participant undoes its part.
"""

from ordersaga.batch import Batch, SagaId
from ordersaga.choreography import Choreography
from ordersaga.errors import DeclarationError, NoTransaction, OrderSagaError, UnknownSaga, WrongDatabase
from ordersaga.participant import Event, Participant
from ordersaga.saga import Saga, Watchdog
from ordersaga.signal import DeadlinePassed, Part, Refusal, Signal, StepFailed
from ordersaga.signing import Keyring
from ordersaga.step import Retry

__all__ = [
    "Batch",
    "Choreography",
    "DeadlinePassed",
    "DeclarationError",
    "Event",
    "Keyring",
    "NoTransaction",
    "OrderSagaError",
    "Part",
    "Participant",
    "Refusal",
    "Retry",
    "Saga",
    "SagaId",
    "Signal",
    "StepFailed",
    "UnknownSaga",
    "Watchdog",
    "WrongDatabase",
]
