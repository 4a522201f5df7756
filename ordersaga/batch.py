"""A batch: one signal for each of several sagas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

from ordersaga.signal import Signal

SagaId = str
"""The text of a UUID in lower case with hyphens; version 7, so that ids sort by creation time."""

T_co = TypeVar("T_co", bound=Signal | None, covariant=True)


class Batch(Mapping[SagaId, T_co]):
    """Signals by saga, in the order of the sagas' ids: ``{saga: signal}``.

    A step that consumes a batch returns a batch with one entry for each saga; the value ``None`` emits
    nothing. A set-based statement over the whole batch costs little more than one row.
    """

    __slots__ = ("_signals",)

    def __init__(self, signals: Mapping[SagaId, T_co]) -> None:
        self._signals = dict(signals)

    def __getitem__(self, saga: SagaId) -> T_co:
        return self._signals[saga]

    def __iter__(self) -> Iterator[SagaId]:
        return iter(self._signals)

    def __len__(self) -> int:
        return len(self._signals)

    def __repr__(self) -> str:
        kinds = sorted({type(s).__name__ for s in self._signals.values()})
        return f"<Batch of {len(self)}: {', '.join(kinds)}>"
