"""A step and its undo: plain functions from one signal, or a batch of them, to the next."""

from __future__ import annotations

import inspect
import random
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Union, get_args, get_origin, get_type_hints

from ordersaga.batch import Batch, SagaId
from ordersaga.errors import DeclarationError
from ordersaga.log import log_context
from ordersaga.signal import Refusal, Signal, StepFailed

NAME = re.compile(r"[A-Za-z_]\w{0,59}")
SINGLES_AT_ONCE = 20
"""How many signals a step that takes them singly is run for in one transaction, unless it says otherwise: its time limit holds
for all of them together."""


@dataclass(frozen=True)
class Retry:
    """How often and when a step that raises is tried again.

    The wait before attempt n + 1 is ``first * 2 ** (n - 1)``, at most ``cap``, times a random factor of 1 ± ``jitter``.
    An error that is none of ``transient`` is not tried again. A database that does not work, or another transaction's lock,
    costs no attempt. The default tries for four and a quarter minutes.
    """

    attempts: int = 9
    first: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(minutes=5)
    jitter: float = 0.2
    transient: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first <= timedelta(0) or self.cap < self.first or not 0 <= self.jitter < 1:
            raise DeclarationError(repr(self), "cannot be followed", "attempts ≥ 1, 0 < first ≤ cap, 0 ≤ jitter < 1")

    @classmethod
    def within(cls, horizon: timedelta) -> Retry:
        """As many attempts as fit into ``horizon``, from the first to the last, at least two."""
        attempts = 2
        while cls(attempts=attempts + 1).horizon <= horizon:
            attempts += 1
        return cls(attempts=attempts)

    @property
    def horizon(self) -> timedelta:
        """The time from the first attempt to the last, without jitter."""
        return sum((min(self.first * (1 << min(n, 40)), self.cap) for n in range(self.attempts - 1)), timedelta(0))

    def wait(self, attempts: int) -> timedelta:
        """How long to wait after so many failed attempts."""
        wait: timedelta = min(self.first * (1 << min(attempts - 1, 40)), self.cap)
        return wait * (1 + self.jitter * (2 * random.random() - 1))


@dataclass(frozen=True)
class Arrow:
    """What a function's type hints say: it hears one signal, says some, takes them singly or in batches.

    :ivar takes: all signals that it hears; more than one only for an undo.
    """

    hears: type[Signal]
    says: tuple[type[Signal], ...]
    may_be_silent: bool
    batched: bool
    asks: frozenset[str]
    takes: tuple[type[Signal], ...] = ()

    @classmethod
    def of(cls, function: Callable[..., Any], name: str, *, several: bool = False) -> Arrow:
        """:param several: whether it may take a union of signals.

        :raises DeclarationError: when the hints do not tell.
        """
        check_synchronous(function, name)
        try:
            hints = get_type_hints(function)
        except NameError as error:
            raise DeclarationError(name, f"a type hint cannot be read ({error})", "Import it at run time") from error
        parameters = list(inspect.signature(function).parameters)
        if not parameters or parameters[0] not in hints or "return" not in hints:
            raise DeclarationError(name, "its hints do not say what it hears and says", "Annotate first parameter and result")
        unknown = set(parameters[1:]) - {"db", "saga"}
        if unknown:
            raise DeclarationError(name, f"asks for {', '.join(sorted(unknown))}", "A step may ask for `db` and `saga`")
        batched, given = _unwrap(hints[parameters[0]])
        takes = _members(given)
        says_batched, said = _unwrap(hints["return"])
        if not all(isinstance(heard, type) and issubclass(heard, Signal) for heard in takes) or (
            len(takes) > 1 and not several
        ):
            raise DeclarationError(name, "hears no single signal", "Annotate its first parameter with a Signal or Batch of one")
        members = _members(said)
        says = tuple(m for m in members if m is not type(None))
        for member in says:
            if not (isinstance(member, type) and issubclass(member, Signal)):
                raise DeclarationError(name, f"says {member!r}", "A step says signals, or None")
            if member is StepFailed:
                raise DeclarationError(name, "says StepFailed", "The engine says it; raise an exception instead")
        if says and batched != says_batched:
            raise DeclarationError(name, "takes one and gives many, or the reverse", "Use Batch for both or for neither")
        if batched and "saga" in parameters:
            raise DeclarationError(name, "asks for `saga` and hears a batch", "A batch holds its sagas: iterate .items()")
        return cls(takes[0], says, type(None) in members, batched, frozenset(parameters[1:]), takes)

    def run(self, function: Callable[..., Any], signals: Mapping[SagaId, Signal], db: Any) -> dict[SagaId, Signal | None]:
        """Call ``function`` with ``signals`` and give what it said for each saga.

        :raises TypeError: when it said what its hints do not tell, or left a saga out.
        """
        extra = {"db": db} if "db" in self.asks else {}
        if self.batched:
            result = function(Batch(signals), **extra)
            said: dict[SagaId, Any] = dict.fromkeys(signals) if result is None else dict(result)
        else:
            said = {}
            for saga, signal in signals.items():
                own = {**extra, "saga": saga} if "saga" in self.asks else extra
                with log_context(saga=saga):
                    said[saga] = function(signal, **own)
        if said.keys() != signals.keys():
            wrong = sorted(said.keys() ^ signals.keys())[:3]
            raise TypeError(f"{function.__name__} must say something for each saga it was given and no other; see {wrong}")
        for signal in said.values():
            if signal is None and self.says and not self.may_be_silent:
                raise TypeError(f"{function.__name__} said nothing, which its hints do not tell: add `| None`")
            if signal is not None and type(signal) not in self.says:
                raise TypeError(f"{function.__name__} said {type(signal).__name__}, which its hints do not tell")
        return said


def check_synchronous(function: Callable[..., Any], name: str) -> None:
    """:raises DeclarationError: for a coroutine or generator function, whose call alone runs nothing."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        what = "a generator" if inspect.isgeneratorfunction(function) else "asynchronous"
        raise DeclarationError(name, f"is {what}", "Write a plain `def` that returns its result: it runs in a transaction")


def _unwrap(hint: Any) -> tuple[bool, Any]:
    if get_origin(hint) is Batch:
        return True, get_args(hint)[0]
    return False, hint


def _members(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) in (Union, types.UnionType):
        return get_args(hint)
    return (type(None),) if hint is None else (hint,)


class Undo:
    """What a step's participant does when the saga is refused after the step was done."""

    def __init__(self, step: Step, function: Callable[..., Any], retry: Retry) -> None:
        self.function, self.retry = function, retry
        self.name = function.__name__
        self.arrow = Arrow.of(function, f"{step.participant}.{self.name}", several=True)
        for heard in self.arrow.takes:
            if heard not in step.successes:
                raise DeclarationError(
                    f"{step.participant}.{self.name}",
                    f"undoes {step.name} but hears {heard.__name__}, which that step does not say",
                    f"An undo is given what its step said: {' or '.join(s.__name__ for s in step.successes) or 'nothing'}",
                )
        if missing := [s.__name__ for s in step.successes if s not in self.arrow.takes]:
            raise DeclarationError(
                f"{step.participant}.{self.name}",
                f"undoes {step.name} and does not take {missing[0]}, which that step may say",
                f"Annotate its first parameter with all of them: {' | '.join(s.__name__ for s in step.successes)}",
            )
        if any(issubclass(s, Refusal) for s in self.arrow.says):
            raise DeclarationError(f"{step.participant}.{self.name}", "refuses", "An undo cannot refuse; raise to try again")


class Step:
    """One step of one participant. Made by :meth:`Participant.step`, which documents the options.

    :ivar key: what the journal, dead letters and the log know it by; stays the same when the step is renamed.
    :ivar task: the name of its Celery task.
    """

    def __init__(
        self,
        participant: str,
        function: Callable[..., Any],
        *,
        retry: Retry,
        time_limit: timedelta,
        decides: bool,
        max_signals: int | None = None,
        name: str | None = None,
        formerly: str | None = None,
    ) -> None:
        self.participant, self.function, self.name = participant, function, name or function.__name__
        self.task = f"{participant}.{self.name}"
        self.key = f"{participant}.{formerly or self.name}"
        for given in (name, formerly):
            if given is not None and not NAME.fullmatch(given):
                raise DeclarationError(self.task, f"has the name {given!r}", "Use letters, digits and _, at most 60")
        self.arrow = Arrow.of(function, self.key)
        self.retry, self.time_limit, self.decides = retry, time_limit, decides
        self.max_signals = max_signals or (None if self.arrow.batched else SINGLES_AT_ONCE)
        self.undoing: Undo | None = None
        self.late: tuple[Arrow, Callable[..., Any]] | None = None
        if time_limit <= timedelta(0):
            raise DeclarationError(self.key, "has no time", "Give a positive time_limit")
        if max_signals is not None and max_signals < 1:
            raise DeclarationError(self.key, "takes no signals", "Give a positive max_signals, or leave it out")
        if issubclass(self.arrow.hears, Refusal):
            raise DeclarationError(self.key, f"hears the refusal {self.arrow.hears.__name__}", "Declare an undo instead")
        if decides and self.refusals and len(self.refusals) < len(self.arrow.says):
            raise DeclarationError(
                self.key, "decides for both ends", "A deciding step says success signals or refusals, not both"
            )
        if decides and self.arrow.says and self.arrow.may_be_silent:
            raise DeclarationError(
                self.key, "decides and may say nothing", "Take `None` off its result: the saga would be decided and never end"
            )
        self.__doc__ = function.__doc__

    @property
    def refusals(self) -> tuple[type[Signal], ...]:
        """What it may say that turns the saga round."""
        return tuple(s for s in self.arrow.says if issubclass(s, Refusal))

    @property
    def successes(self) -> tuple[type[Signal], ...]:
        """What it may say that carries the saga on."""
        return tuple(s for s in self.arrow.says if not issubclass(s, Refusal))

    @property
    def confirms(self) -> bool:
        """Whether it decides that the saga succeeds."""
        return self.decides and not self.refusals

    @property
    def never_gives_up(self) -> bool:
        """Deciding steps that refuse and listening ends have no way out, so they are tried for ever."""
        return (self.decides and bool(self.refusals)) or not self.arrow.says

    def undo(self, function: Callable[..., Any] | None = None, /, *, retry: Retry | None = None) -> Any:
        """Declare how this step is undone; the function is given what the step had said.

        Its first parameter takes every success signal of the step: ``Charged | Free`` where the step says either. For a saga
        that the step said nothing for, there is nothing to undo, and the function is not called.

        An undo never gives up: when ``retry.attempts`` (5 by default) are spent the saga *needs attention*, and it goes on at
        the cap.
        """

        def declare(undo: Callable[..., Any]) -> Undo:
            if self.undoing is not None:
                raise DeclarationError(self.key, "has two undos", "Keep one")
            self.undoing = Undo(self, undo, retry or Retry(attempts=5))
            return self.undoing

        return declare if function is None else declare(function)

    def too_late(self, function: Callable[..., None]) -> Callable[..., None]:
        """Declare who is told of sagas that a deciding step came too late for; same parameters as the step.

        It runs once more for each copy of a signal that a refusal had overtaken, and must not mind.
        """
        if not self.decides:
            raise DeclarationError(self.key, "cannot come too late", "Only a step with decides=True can")
        arrow = Arrow.of(function, f"{self.participant}.{function.__name__}")
        if arrow.says or arrow.hears is not self.arrow.hears or arrow.batched != self.arrow.batched:
            raise DeclarationError(self.key, f"{function.__name__} does not hear the same", "Same parameters, result None")
        self.late = (arrow, function)
        return function

    def __repr__(self) -> str:
        return f"<Step {self.key}>"
