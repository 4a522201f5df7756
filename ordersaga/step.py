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
"""The default ``max_signals`` of a step that takes single signals; its time limit applies to all together."""


@dataclass(frozen=True)
class Retry:
    """How often and when a step that raised is retried.

    The wait before attempt n + 1 is ``first * 2 ** (n - 1)``, at most ``cap``, times a random factor of 1 ±
    ``jitter``. Only errors of the types in ``transient`` are retried. A database fault or another
    transaction's lock does not count as an attempt. The default retries for four and a quarter minutes.
    """

    attempts: int = 9
    first: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(minutes=5)
    jitter: float = 0.2
    transient: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        if (
            self.attempts < 1
            or self.first <= timedelta(0)
            or self.cap < self.first
            or not 0 <= self.jitter < 1
        ):
            raise DeclarationError(
                repr(self),
                "is not a valid retry policy",
                "Give attempts ≥ 1, 0 < first ≤ cap, 0 ≤ jitter < 1",
            )

    @classmethod
    def within(cls, horizon: timedelta) -> Retry:
        """The policy with as many attempts as fit into ``horizon``, at least two."""
        attempts = 2
        while cls(attempts=attempts + 1).horizon <= horizon:
            attempts += 1
        return cls(attempts=attempts)

    @property
    def horizon(self) -> timedelta:
        """The time from the first attempt to the last, without jitter."""
        return sum(
            (min(self.first * (1 << min(n, 40)), self.cap) for n in range(self.attempts - 1)), timedelta(0)
        )

    def wait(self, attempts: int) -> timedelta:
        """The wait after ``attempts`` failed attempts."""
        wait: timedelta = min(self.first * (1 << min(attempts - 1, 40)), self.cap)
        return wait * (1 + self.jitter * (2 * random.random() - 1))


@dataclass(frozen=True)
class StepSignature:
    """The type hints of a step or an undo: what it consumes and emits, singly or in batches.

    :ivar consumes: the signal that it consumes; the first of ``inputs``.
    :ivar emits: the signals that it may return.
    :ivar may_be_silent: whether it may return None.
    :ivar parameters: which of ``db`` and ``saga`` it takes.
    :ivar inputs: all signals that it consumes; more than one only for an undo.
    """

    consumes: type[Signal]
    emits: tuple[type[Signal], ...]
    may_be_silent: bool
    batched: bool
    parameters: frozenset[str]
    inputs: tuple[type[Signal], ...] = ()

    @classmethod
    def of(cls, function: Callable[..., Any], name: str, *, several: bool = False) -> StepSignature:
        """Read the hints of ``function``; ``several`` allows a union of signals as input.

        :raises DeclarationError: when the hints are missing or not valid.
        """
        check_synchronous(function, name)
        try:
            hints = get_type_hints(function)
        except NameError as error:
            raise DeclarationError(
                name, f"a type hint cannot be read ({error})", "Import it at run time"
            ) from error
        parameters = list(inspect.signature(function).parameters)
        if not parameters or parameters[0] not in hints or "return" not in hints:
            raise DeclarationError(
                name,
                "has no type hints for its signal or its result",
                "Annotate the first parameter and the result",
            )
        unknown = set(parameters[1:]) - {"db", "saga"}
        if unknown:
            raise DeclarationError(
                name,
                f"has the parameter {', '.join(sorted(unknown))}",
                "A step may have `db` and `saga` after its signal",
            )
        consumes_batch, consumed = _read_hint(hints[parameters[0]])
        emits_batch, returned = _read_hint(hints["return"])
        if not all(_is_signal(each) for each in consumed) or (len(consumed) > 1 and not several):
            raise DeclarationError(
                name,
                "does not consume one signal",
                "Annotate its first parameter with a Signal, or a Batch of one",
            )
        emitted = tuple(each for each in returned if each is not type(None))
        for each in emitted:
            if not _is_signal(each):
                raise DeclarationError(name, f"returns {each!r}", "Return a Signal or None")
            if each is StepFailed:
                raise DeclarationError(
                    name, "returns StepFailed", "Raise an exception instead: the engine emits StepFailed"
                )
        if emitted and consumes_batch != emits_batch:
            raise DeclarationError(
                name,
                "consumes a batch and returns a single signal, or the reverse",
                "Use Batch for both or for neither",
            )
        if consumes_batch and "saga" in parameters:
            raise DeclarationError(
                name,
                "consumes a batch and has the parameter `saga`",
                "Iterate .items() of the batch: its keys are the sagas",
            )
        may_be_silent = type(None) in returned
        extra = frozenset(parameters[1:])
        return cls(consumed[0], emitted, may_be_silent, consumes_batch, extra, consumed)

    def run(
        self, function: Callable[..., Any], signals: Mapping[SagaId, Signal], db: Any
    ) -> dict[SagaId, Signal | None]:
        """Call ``function`` with ``signals``; return its result for each saga.

        :raises TypeError: when a result contradicts the hints, or a saga is missing.
        """
        extra = {"db": db} if "db" in self.parameters else {}
        if self.batched:
            result = function(Batch(signals), **extra)
            results: dict[SagaId, Any] = dict.fromkeys(signals) if result is None else dict(result)
        else:
            results = {}
            for saga, signal in signals.items():
                own = {**extra, "saga": saga} if "saga" in self.parameters else extra
                with log_context(saga=saga):
                    results[saga] = function(signal, **own)
        if results.keys() != signals.keys():
            wrong = sorted(results.keys() ^ signals.keys())[:3]
            raise TypeError(f"{function.__name__} must return one result for each of its sagas; see {wrong}")
        for signal in results.values():
            if signal is None and self.emits and not self.may_be_silent:
                raise TypeError(f"{function.__name__} returned None, against its hints: add `| None`")
            if signal is not None and type(signal) not in self.emits:
                returned = type(signal).__name__
                raise TypeError(f"{function.__name__} returned {returned}, against its hints: add it to them")
        return results


def check_synchronous(function: Callable[..., Any], name: str) -> None:
    """:raises DeclarationError: for a coroutine or generator function, because calling it runs nothing."""
    if (
        inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
        or inspect.isasyncgenfunction(function)
    ):
        what = "a generator" if inspect.isgeneratorfunction(function) else "asynchronous"
        raise DeclarationError(
            name, f"is {what}", "Write a plain `def` that returns its result: it runs in a transaction"
        )


def _read_hint(hint: Any) -> tuple[bool, tuple[Any, ...]]:
    """Whether a hint is a Batch, and the types of its union; NoneType for None."""
    if get_origin(hint) is Batch:
        return True, _union_members(get_args(hint)[0])
    return False, _union_members(hint)


def _is_signal(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Signal)


def _union_members(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) in (Union, types.UnionType):
        return get_args(hint)
    return (type(None),) if hint is None else (hint,)


class Undo:
    """The compensating function of a step, for sagas that are refused after the step was done."""

    def __init__(self, step: Step, function: Callable[..., Any], retry: Retry) -> None:
        self.function, self.retry = function, retry
        self.name = function.__name__
        self.signature = StepSignature.of(function, f"{step.participant}.{self.name}", several=True)
        for given in self.signature.inputs:
            if given not in step.successes:
                raise DeclarationError(
                    f"{step.participant}.{self.name}",
                    f"undoes {step.name} and takes {given.__name__}, which that step does not emit",
                    f"Take what it emits: {' or '.join(s.__name__ for s in step.successes) or 'nothing'}",
                )
        if missing := [s.__name__ for s in step.successes if s not in self.signature.inputs]:
            raise DeclarationError(
                f"{step.participant}.{self.name}",
                f"undoes {step.name} and does not take {missing[0]}, which that step may emit",
                f"Annotate the first parameter with {' | '.join(s.__name__ for s in step.successes)}",
            )
        if any(issubclass(s, Refusal) for s in self.signature.emits):
            raise DeclarationError(
                f"{step.participant}.{self.name}",
                "is an undo and returns a refusal",
                "Raise an exception to try the undo again",
            )


class Step:
    """One step of one participant; :meth:`Participant.step` creates it and documents the options.

    :ivar key: its name in the journal, dead letters and the log, which does not change when it is renamed.
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
                raise DeclarationError(
                    self.task, f"has the name {given!r}", "Use a-z, A-Z, 0-9 and _, at most 60 characters"
                )
        self.signature = StepSignature.of(function, self.key)
        self.retry, self.time_limit, self.decides = retry, time_limit, decides
        self.max_signals = max_signals or (None if self.signature.batched else SINGLES_AT_ONCE)
        self.declared_undo: Undo | None = None
        self.late: tuple[StepSignature, Callable[..., Any]] | None = None
        if time_limit <= timedelta(0):
            raise DeclarationError(self.key, "has no time limit", "Give a positive time_limit")
        if max_signals is not None and max_signals < 1:
            raise DeclarationError(
                self.key, "has a max_signals below 1", "Give a positive max_signals, or leave it out"
            )
        if issubclass(self.signature.consumes, Refusal):
            raise DeclarationError(
                self.key,
                f"consumes the refusal {self.signature.consumes.__name__}",
                "Declare an undo instead",
            )
        if decides and self.refusals and len(self.refusals) < len(self.signature.emits):
            raise DeclarationError(
                self.key,
                "decides, and emits both successes and refusals",
                "Emit one or the other: it confirms or it refuses",
            )
        if decides and self.signature.emits and self.signature.may_be_silent:
            raise DeclarationError(
                self.key,
                "decides and may return None",
                "Remove `None` from its result: the saga would be decided and never end",
            )
        self.__doc__ = function.__doc__

    @property
    def refusals(self) -> tuple[type[Signal], ...]:
        """The refusals that it may emit."""
        return tuple(s for s in self.signature.emits if issubclass(s, Refusal))

    @property
    def successes(self) -> tuple[type[Signal], ...]:
        """The signals that it may emit other than refusals."""
        return tuple(s for s in self.signature.emits if not issubclass(s, Refusal))

    @property
    def confirms(self) -> bool:
        """Whether it changes the status to CONFIRMED."""
        return self.decides and not self.refusals

    @property
    def never_gives_up(self) -> bool:
        """Whether it is retried until it succeeds: a deciding step that refuses, or a listening end."""
        return (self.decides and bool(self.refusals)) or not self.signature.emits

    def undo(self, function: Callable[..., Any] | None = None, /, *, retry: Retry | None = None) -> Any:
        """Declare the undo of this step; its function receives what the step emitted.

        The first parameter accepts each success of the step: ``Charged | Free`` if the step emits either. The
        function is not called for sagas for which the step returned None.

        An undo is never given up. After ``retry.attempts`` (5 by default) the saga *needs attention*, and the
        retries go on at the longest interval.
        """

        def declare(undo: Callable[..., Any]) -> Undo:
            if self.declared_undo is not None:
                raise DeclarationError(self.key, "has two undos", "Keep one undo")
            self.declared_undo = Undo(self, undo, retry or Retry(attempts=5))
            return self.declared_undo

        return declare if function is None else declare(function)

    def too_late(self, function: Callable[..., None]) -> Callable[..., None]:
        """Declare a function for sagas that were already decided; it has the same parameters as the step.

        It runs again for each copy of a signal that a refusal has overtaken, so it must be idempotent.
        """
        if not self.decides:
            raise DeclarationError(
                self.key,
                "has a too_late function and does not decide",
                "Only a step with decides=True can be too late",
            )
        signature = StepSignature.of(function, f"{self.participant}.{function.__name__}")
        if (
            signature.emits
            or signature.consumes is not self.signature.consumes
            or signature.batched != self.signature.batched
        ):
            raise DeclarationError(
                self.key,
                f"{function.__name__} does not consume the same signal",
                "Give it the same parameters and the result None",
            )
        self.late = (signature, function)
        return function

    def __repr__(self) -> str:
        return f"<Step {self.key}>"
