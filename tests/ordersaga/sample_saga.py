"""A small valid choreography for tests to change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ordersaga import (
    Batch,
    Choreography,
    DeadlinePassed,
    DeclarationError,
    Participant,
    Refusal,
    Saga,
    Signal,
)


class UnusedDatabase:
    """A database that no test connects to: these tests only declare."""

    dsn = "postgresql://nobody@nowhere/none"

    def begin(self) -> Any:
        raise AssertionError("no step runs here")

    def discard(self) -> None:
        raise AssertionError("no step runs here")


class Asked(Signal):
    pass


class Booked(Signal):
    pass


class Full(Refusal):
    pass


class Agreed(Signal):
    pass


class Sent(Signal):
    pass


class Late(Refusal):
    pass


class Wish(Signal):
    pass


class Trip:
    """A small valid choreography; each test changes one thing."""

    def __init__(self) -> None:
        self.desk = Participant("desk", database=UnusedDatabase())
        self.hotel = Participant("hotel", database=UnusedDatabase())
        self.others: list[Participant] = []
        self.options: dict[str, Any] = {}

        @self.hotel.step
        def book(asked: Asked) -> Booked | Full:
            return Booked()

        @book.undo
        def unbook(booked: Booked) -> None: ...

        @self.hotel.step
        def send(agreed: Agreed) -> Sent:
            return Sent()

        @self.desk.step(decides=True)
        def agree(booked: Batch[Booked]) -> Batch[Agreed]:
            return Batch({saga: Agreed() for saga in booked})

        @self.desk.step(decides=True)
        def expire(passed: Batch[DeadlinePassed]) -> Batch[Late]:
            return Batch({saga: Late() for saga in passed})

        @self.desk.step
        def finish(sent: Batch[Sent]) -> None: ...

        self.book, self.send, self.agree, self.expire, self.finish = book, send, agree, expire, finish

    def whole(self) -> Choreography:
        names = [p.name for p in (self.desk, self.hotel, *self.others) if p.steps]
        options = {
            "participants": names,
            "deadline": timedelta(minutes=1),
            "initiator": "desk",
            "begins_with": Asked,
        }
        return Choreography(
            Saga("trip", **{**options, **self.options}), [self.desk, self.hotel, *self.others]
        )


def refused(make: Callable[[], object], *words: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        make()
    for word in words:
        assert word in str(caught.value), f"{word!r} is missing in: {caught.value}"
    assert caught.value.remedy in str(caught.value)
