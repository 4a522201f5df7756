"""The state that the model and the real databases have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.model.state import NAMES, NONE, SagaState


class Observation(NamedTuple):
    status: str
    refusal: str
    rows: dict[str, str]
    heard: frozenset[str]
    answers: frozenset[str]
    charged: int
    refunded: int
    held: int
    sold: int
    messages: frozenset[tuple[str, str, bool]]

    @classmethod
    def of(cls, saga: SagaState) -> Observation:
        rows = {name: row for name, row in zip(NAMES, saga.rows, strict=True) if row != NONE}
        return cls(
            saga.status,
            saga.refusal,
            rows,
            saga.heard,
            saga.answers,
            saga.charged,
            saga.refunded,
            saga.held,
            saga.sold,
            saga.messages,
        )

    def differences(self, other: Observation) -> list[str]:
        """Describe each field that differs, for a message."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in self._fields)
        return [f"{name}: {_only(a, b)} here, {_only(b, a)} in the model" for name, a, b in pairs if a != b]


def _only(mine: Any, theirs: Any) -> Any:
    if isinstance(mine, dict):
        return dict(sorted(mine.items() - theirs.items()))
    return sorted(mine - theirs) if isinstance(mine, frozenset) else mine
