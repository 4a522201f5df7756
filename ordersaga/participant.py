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
        "hear_refusal",
        "hear_answer",
        "hear_attention",
        "retry_undo",
        "watch",
        "observe",
        "settle_letter",
        "resume_step",
    }
)


class Event(NamedTuple):
    """One line of a saga's story, as an observer is told it. ``data`` is JSON text; ``at`` an ISO time in
    UTC.
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
    """A domain of its own: steps, one database, one queue, one pool."""

    def __init__(self, name: str, *, database: Database) -> None:
        """:raises DeclarationError: when the name is not a short lower-case identifier."""
        if not NAME.fullmatch(name):
            raise DeclarationError(
                name,
                "is not a valid name of a participant",
                "Use lower-case letters, digits and _, at most 31",
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

        What it hears and says stands in its type hints. It may ask for ``db`` (what the database lends: a
        session, a connection) and, when it takes signals singly, ``saga``. It runs inside the engine's
        transaction and must not commit; returned refusals turn the saga round, raised exceptions roll back
        and are tried again.

        :param retry: how often and when it is tried again.
        :param time_limit: of its transaction; PostgreSQL ends a statement that exceeds it, prefork pools end
            the process.
        :param decides: the step is given only the sagas that this very transaction moves away from PENDING:
            to CONFIRMED, or to ROLLING_BACK when it says refusals. Only the initiator's steps may decide.
        :param max_signals: for how many sagas at most it runs in one transaction, and its undo likewise; by
            default 20 where it takes signals singly, and a whole envelope (up to 400) where it takes batches.
        :param name: of the step; the function's by default. Its Celery task is called so.
        :param formerly: the first name that this step had in production. The journal goes on to know it by
            that, so that a renamed step neither runs again for a saga under way nor loses its undo. Keep it
            in later releases.
        :raises DeclarationError: at import, when the hints do not tell or the options contradict one another.
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
        """Declare the function that is told every event of every saga: ``def write(events: Sequence[Event],
        db)``.

        An observer has no steps and is not counted among those who must answer. An event that it cannot take
        is left to the broker's dead letters, the others of its envelope are not.
        """
        if self.steps:
            raise DeclarationError(
                self.name, "has steps and an observer", "Declare the observer on a separate participant"
            )
        check_synchronous(function, f"{self.name}.{function.__name__}")
        self.observer = function
        return function

    def step_for(self, signal: str) -> Step | None:
        """The step that hears the signal of that name, if any."""
        return next((s for s in self.steps.values() if s.signature.consumes.__name__ == signal), None)

    def __repr__(self) -> str:
        return f"<Participant {self.name}: {', '.join(self.steps) or 'observes'}>"
