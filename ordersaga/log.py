"""Log events: a code, a sentence, the fields of the work in progress, and the safe part of an error.

An ordinary formatter prints a :class:`LogEvent` as text; ``contrib.structlog`` reads its fields.

The text of an exception may contain personal data: PostgreSQL's DETAIL and SQLAlchemy's parameters quote the
row that a step was working on. The dead letter keeps that text for authorized readers; the log gets only the
type and the place of the exception.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextvars import ContextVar, Token
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from pydantic import ValidationError

from ordersaga.database import fault_of, first_line, is_connection_error
from ordersaga.errors import OrderSagaError

_context: ContextVar[Mapping[str, Any]] = ContextVar("ordersaga_log_context", default=MappingProxyType({}))


class log_context:  # noqa: N801 - a statement; a class is faster than a generator
    """Add fields to every log event of this thread within the block; fields that are None are left out.

    >>> with log_context(step="inventory.reserve_stock", attempt=2):
    ...     str(LogEvent("step_started", "The step runs.", signals=1))
    'step_started: The step runs. step=inventory.reserve_stock attempt=2 signals=1'
    """

    def __init__(self, **fields: Any) -> None:
        self._fields = {name: value for name, value in fields.items() if value is not None}
        self._token: Token[Mapping[str, Any]] | None = None

    def __enter__(self) -> Self:
        self._token = _context.set({**_context.get(), **self._fields})
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _context.reset(self._token)


def current_context() -> Mapping[str, Any]:
    """The fields that the enclosing :class:`log_context` blocks add."""
    return _context.get()


class LogEvent:
    """A message for any logger: a stable code, a sentence for people, and fields.

    Programs read the code and the fields; docs/DEPLOYING.md lists all codes.
    """

    __slots__ = ("code", "fields", "sentence")

    def __init__(self, code: str, sentence: str, /, **fields: Any) -> None:
        """Fields that are None are left out; the field ``exception`` is a text of several lines."""
        self.code, self.sentence = code, sentence
        self.fields = {
            **_context.get(),
            **{name: value for name, value in fields.items() if value is not None},
        }

    def __str__(self) -> str:
        words = [f"{name}={value}" for name, value in self.fields.items() if name != "exception"]
        tail = f"\n{self.fields['exception']}" if "exception" in self.fields else ""
        return f"{' '.join([f'{self.code}: {self.sentence}', *words])}{tail}"


# errors

_SAFE_PACKAGES = frozenset({"amqp", "kombu"})
"""Packages whose error messages mention only queues and connections."""


def safe_message(error: BaseException) -> str:
    """The type of an error, and the part of its message that cannot contain a step's data.

    >>> safe_message(KeyError("Ann Example, 1 Some Street"))
    'KeyError'
    >>> safe_message(ConnectionRefusedError(111, "Connection refused"))
    'ConnectionRefusedError: Connection refused'
    """
    kind, message = type(error).__qualname__, _safe_part(error)
    return f"{kind}: {message}" if message else kind


def _safe_part(error: BaseException) -> str:
    module = type(error).__module__
    if (
        isinstance(error, OrderSagaError)
        or module.partition(".")[0] in _SAFE_PACKAGES
        or is_connection_error(error)
    ):
        return first_line(error)
    if isinstance(error, OSError) and module in ("builtins", "socket"):  # subclasses may quote URLs
        return error.strerror or ""
    if isinstance(error, ValidationError):
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        return f"{error.title}: {', '.join(_fault(fault) for fault in faults[:5])}"
    return fault_of(error)


def _fault(fault: Any) -> str:
    """A field's name and fault without its value; the name of an unknown field is left out, too."""
    place = ".".join(str(part) for part in fault["loc"]) if fault["type"] != "extra_forbidden" else ""
    return f"{place} {fault['type']}".strip()


def place_of(error: BaseException) -> str | None:
    """The file, line and function where an error was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}" if frames else None


def safe_traceback(error: BaseException) -> str:
    """The traceback with the safe message of each exception in the chain."""
    parts: list[str] = []
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        parts.append("".join(traceback.format_tb(each.__traceback__)) + safe_message(each))
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return "\n\nthen\n\n".join(reversed(parts))


def failure(error: BaseException, *, whole: bool = False) -> dict[str, Any]:
    """The log fields of an error: its safe message, and its place or the ``whole`` traceback."""
    return {
        "error": safe_message(error),
        **({"exception": safe_traceback(error)} if whole else {"place": place_of(error)}),
    }
