"""Signals, which participants exchange, and refusals, which roll a saga back."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from ordersaga.errors import DeclarationError, UnreadableVersion


class Part(BaseModel):
    """A frozen part of a signal; unknown fields, infinities and NaN are not valid."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Signal(Part):
    """An event that a step emits and other steps consume.

    Subclass it with fields of limited size. When the fields change, pass ``version=`` and translate older
    data in :meth:`upcast`::

        class OrderPlaced(Signal, version=2): ...
    """

    version: ClassVar[int] = 1

    def __init_subclass__(cls, *, version: int = 1, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if version < 1:
            raise DeclarationError(cls.__name__, f"version is {version}", "Versions count from 1")
        cls.version = version

    @classmethod
    def upcast(cls, version: int, data: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG003 - for those that override it
        """Translate ``data``, as an older ``version`` wrote it, into this version's fields.

        :raises ValueError: for every older version, unless overridden.
        """
        fault = f"{cls.__name__} version {version} cannot be read by version {cls.version}; override upcast()"
        raise UnreadableVersion(fault)


class Refusal(Signal):
    """A signal that rolls the saga back: every participant undoes its part."""

    def reason(self) -> str:
        """One sentence for people; by default the name of the class in words."""
        words = "".join(f" {c.lower()}" if c.isupper() else c for c in type(self).__name__).strip()
        return words.capitalize()


class DeadlinePassed(Signal):
    """The engine emits it at the saga's deadline; a deciding step consumes it and refuses."""


class StepFailed(Refusal):
    """The engine emits it for a step that was given up after its last attempt.

    ``error`` contains no personal data; the dead letter has the full text.
    """

    step: str
    error: str

    def reason(self) -> str:
        return f"Step {self.step} failed: {self.error}"


def topic_of(signal: type[Signal]) -> str:
    """The routing key of a signal: ``signal.OrderPlaced``, ``refusal.OutOfStock``."""
    kind = "refusal" if issubclass(signal, Refusal) else "signal"
    return f"{kind}.{signal.__name__}"
