"""A participant: a named set of steps that share a database, a queue and a pool of workers."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from ordersaga.database import Database
from ordersaga.errors import DeclarationError
from ordersaga.step import Retry, Step, check_synchronous

NAME = re.compile(r"^[a-z][a-z0-9_]{0,30}$")
ENGINE_TASKS = frozenset(
    {
        "refusal",
        "receive_refusal",
        "record_answer",
        "record_attention",
        "retry_undo",
        "watch",
        "observe",
        "settle_dead_letter",
        "resume_step",
    }
)


class Event(NamedTuple):
    """One event of a saga, as an observer receives it.

    :ivar topic: of the signal or notice.
    :ivar at: an ISO time in UTC.
    :ivar data: JSON text.
    """

    id: str
    saga: str
    cause: str | None
    topic: str
    participant: str
    step: str | None
    task: str | None
    attempt: int
    again: bool
    at: str
    reason: str | None
    data: str


Observer = Callable[..., None]


class Participant:
    """A named set of steps, or an observer, with a database, a queue and a pool of workers."""

    def __init__(self, name: str, *, database: Database) -> None:
        """:raises DeclarationError: when the name is not a lower-case identifier of at most 31 characters."""
        if not NAME.fullmatch(name):
            raise DeclarationError(
                name,
                "is not a valid name of a participant",
                "Use a-z, 0-9 and _, at most 31 characters",
            )
        self.name, self.database = name, database
        self.steps: dict[str, Step] = {}
        self.observer: Observer | None = None

    def step(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        retry: Retry = Retry(),
        time_limit: timedelta = timedelta(seconds=30),
        decides: bool = False,
        max_signals: int | None = None,
        name: str | None = None,
        formerly: str | None = None,
    ) -> Any:
        """Declare a step: a function from one signal, or a :class:`Batch` of them, to the next.

        Its type hints state what it consumes and emits. It may have the parameter ``db`` (the session or
        connection of the database) and, if it takes single signals, ``saga``. It runs in the engine's
        transaction and must not commit. A returned refusal rolls the saga back; a raised exception rolls the
        transaction back and is retried.

        :param retry: how often and when a step that raised is retried.
        :param time_limit: of its transaction. PostgreSQL cancels a statement that exceeds it; prefork pools
            kill the process.
        :param decides: the step receives only the sagas that its transaction moves away from PENDING: to
            CONFIRMED, or to ROLLING_BACK when it emits refusals. Only the initiator's steps may decide.
        :param max_signals: the largest number of sagas for which the step, or its undo, runs in one
            transaction; by default 20 for single signals, and a whole envelope (up to 400) for batches.
        :param name: of the step and its Celery task; the function's name by default.
        :param formerly: the first name of this step in production. The journal keeps it as the key, so that
            a renamed step neither runs again for an open saga nor loses its undo. Keep it in later releases.
        :raises DeclarationError: at import, when hints are missing or options contradict each other.
        """

        def declare(function: Callable[..., Any]) -> Step:
            step = Step(
                self.name,
                function,
                retry=retry,
                time_limit=time_limit,
                decides=decides,
                max_signals=max_signals,
                name=name,
                formerly=formerly,
            )
            if step.name in self.steps or step.name in ENGINE_TASKS:
                raise DeclarationError(step.task, "has a name that is in use", "Choose another name")
            for other in self.steps.values():
                if other.key == step.key:
                    raise DeclarationError(
                        step.task,
                        f"has the same key in the journal as {other.task}: {step.key}",
                        "Give the new step a name that no step has had",
                    )
                if other.signature.consumes is step.signature.consumes:
                    raise DeclarationError(
                        step.key,
                        f"consumes {step.signature.consumes.__name__}, and so does {other.key}",
                        "A participant has one step for each signal: call both functions from one step",
                    )
            self.steps[step.name] = step
            return step

        return declare if function is None else declare(function)

    def observe(self, function: Observer) -> Observer:
        """Declare the function that receives every event: ``def write(events: Sequence[Event], db)``.

        An observer has no steps, and no saga waits for its answer. An event for which the function raises
        becomes a dead letter; the other events of its envelope do not.
        """
        if self.steps:
            raise DeclarationError(
                self.name, "has steps and an observer", "Declare the observer on a separate participant"
            )
        check_synchronous(function, f"{self.name}.{function.__name__}")
        self.observer = function
        return function

    def step_for(self, signal: str) -> Step | None:
        """The step that consumes the signal with this class name, if any."""
        return next((s for s in self.steps.values() if s.signature.consumes.__name__ == signal), None)

    def __repr__(self) -> str:
        return f"<Participant {self.name}: {', '.join(self.steps) or 'observes'}>"
