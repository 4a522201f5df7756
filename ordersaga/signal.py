"""What participants say to one another: signals, and the refusals that turn a saga round."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from ordersaga.errors import DeclarationError, UnreadableVersion


class Part(BaseModel):
    """A frozen piece of a signal: unknown fields, infinities and NaN are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Signal(Part):
    """Something that happened, said to whoever listens.

    Subclass with bounded fields; pass ``version=`` when the fields change and translate older data in
    :meth:`upcast`::

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
        """Translate ``data`` as written by ``version`` (older than this class) into this version's fields.

        :raises ValueError: when that version can no longer be read, as every older one is unless this is
            overridden.
        """
        fault = f"{cls.__name__} version {version} cannot be read by version {cls.version}; override upcast()"
        raise UnreadableVersion(fault)


class Refusal(Signal):
    """A signal that turns the saga round: every participant undoes its own part."""

    def reason(self) -> str:
        """One sentence for people. By default the class's name in words; override to say more."""
        words = "".join(f" {c.lower()}" if c.isupper() else c for c in type(self).__name__).strip()
        return words.capitalize()


class DeadlinePassed(Signal):
    """The saga's time is up; said by the engine. A step of the initiator should hear it and refuse."""


class StepFailed(Refusal):
    """A step was given up after its last attempt; said by the engine in that step's name.

    ``error`` is what everybody may be told; the rest stands in the dead letter.
    """

    step: str
    error: str

    def reason(self) -> str:
        return f"Step {self.step} failed: {self.error}"


def topic_of(signal: type[Signal]) -> str:
    """The routing key under which a signal travels: ``signal.OrderPlaced``, ``refusal.OutOfStock``."""
    kind = "refusal" if issubclass(signal, Refusal) else "signal"
    return f"{kind}.{signal.__name__}"
