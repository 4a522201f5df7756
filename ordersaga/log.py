"""Log events: a sentence, the fields of the work in progress, and of an error only what is safe to log.

It needs the standard library alone. An ordinary formatter prints a :class:`LogEvent` as text;
``contrib.structlog`` reads its fields.

The text of an exception may hold whatever the step was working on: a row's values (PostgreSQL's DETAIL,
SQLAlchemy's parameters), a customer, an address. It is kept with the dead letter, for those who may read it.
The log gets the type and place of the exception.
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


class log_context:  # noqa: N801 - used as a statement, and quicker than a generator: it is entered for every envelope
    """Within the block every line of this thread carries these fields; those that are None are left out.

    >>> with log_context(step="inventory.reserve_stock", attempt=2):
    ...     str(LogEvent("on its way", gone=True))
    'on its way step=inventory.reserve_stock attempt=2 gone=True'
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
    """The fields that are bound here and now."""
    return _context.get()


class LogEvent:
    """A message for any logger: ``logger.warning(LogEvent("failed, tried again later", attempt=2))``."""

    __slots__ = ("event", "fields")

    def __init__(self, event: str, **fields: Any) -> None:
        """:param fields: those of ``exception`` are text of several lines, which stands last."""
        self.event = event
        self.fields = {
            **_context.get(),
            **{name: value for name, value in fields.items() if value is not None},
        }

    def __str__(self) -> str:
        words = [f"{name}={value}" for name, value in self.fields.items() if name != "exception"]
        tail = f"\n{self.fields['exception']}" if "exception" in self.fields else ""
        return f"{' '.join([self.event, *words])}{tail}"


# -------------------------------------------------------------------------------------------------------------
# errors

_OUTSPOKEN = frozenset({"amqp", "kombu"})
"""Packages whose errors speak of queues and connections only."""


def safe_message(error: BaseException) -> str:
    """The kind of an error, and of its words those that cannot hold what a step was working on.

    >>> safe_message(KeyError("Ann Example, 1 Some Street"))
    'KeyError'
    >>> safe_message(ConnectionRefusedError(111, "Connection refused"))
    'ConnectionRefusedError: Connection refused'
    """
    kind, words = type(error).__qualname__, _words(error)
    return f"{kind}: {words}" if words else kind


def _words(error: BaseException) -> str:
    module = type(error).__module__
    if (
        isinstance(error, OrderSagaError)
        or module.partition(".")[0] in _OUTSPOKEN
        or is_connection_error(error)
    ):
        return first_line(error)
    if isinstance(error, OSError) and module in (
        "builtins",
        "socket",
    ):  # others' may tell addresses they called
        return error.strerror or ""
    if isinstance(error, ValidationError):
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        return f"{error.title}: {', '.join(_fault(fault) for fault in faults[:5])}"
    return fault_of(error)


def _fault(fault: Any) -> str:
    """What is wrong with a field, without its value; one that should not be there is not even named."""
    place = ".".join(str(part) for part in fault["loc"]) if fault["type"] != "extra_forbidden" else ""
    return f"{place} {fault['type']}".strip()


def place_of(error: BaseException) -> str | None:
    """Where it was raised: file, line and function."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name}" if frames else None


def safe_traceback(error: BaseException) -> str:
    """The traceback, with the safe message of each exception."""
    parts: list[str] = []
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        parts.append("".join(traceback.format_tb(each.__traceback__)) + safe_message(each))
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return "\n\nthen\n\n".join(reversed(parts))


def failure(error: BaseException, *, whole: bool = False) -> dict[str, Any]:
    """The fields that tell of an error: what, and where or the ``whole`` way there."""
    return {
        "error": safe_message(error),
        **({"exception": safe_traceback(error)} if whole else {"place": place_of(error)}),
    }
