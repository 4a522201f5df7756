"""Bounded waiting by polling, instead of sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.support.time_scale import scaled

T = TypeVar("T")


def eventually(
    check: Callable[[], T],
    timeout: float = 10.0,
    what: str = "",
    *,
    ignoring: tuple[type[Exception], ...] = (AssertionError,),
) -> T:
    """Call ``check`` until it returns something true; return that.

    ``timeout`` is in seconds, scaled to this machine. Exceptions of the ``ignoring`` kinds count as "not
    yet".

    :raises AssertionError: at the timeout, with ``what`` and the last result or exception.
    """
    timeout = scaled(timeout)
    deadline = time.monotonic() + timeout
    pause = 0.01
    while True:
        failure: Exception | None = None
        answer: T | None = None
        try:
            answer = check()
            if answer:
                return answer
        except ignoring as error:
            failure = error
        if time.monotonic() >= deadline:
            last = f"{type(failure).__name__}: {failure}" if failure else repr(answer)
            raise AssertionError(
                f"{what or check} did not come about within {timeout:g} s; last seen: {last}"
            ) from failure
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(pause * 1.5, 0.2)


def throughout(check: Callable[[], T], seconds: float, what: str = "") -> None:
    """Call ``check`` repeatedly for ``seconds``; it must return something true each time.

    :raises AssertionError: at the first result that is false.
    """
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        answer = check()
        assert answer, f"{what or check} did not last; seen: {answer!r}"
        time.sleep(min(0.25, left))
