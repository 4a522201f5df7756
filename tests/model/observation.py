"""What the model and the real databases have in common, to be compared."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.model.state import NAMES, NONE, Saga


class Observation(NamedTuple):
    """What can be compared between the model and the databases."""

    status: str
    turned_by: str
    rows: dict[str, str]
    heard: frozenset[str]
    answers: frozenset[str]
    charged: int
    refunded: int
    held: int
    sold: int
    mail: frozenset[tuple[str, str, bool]]

    @classmethod
    def of(cls, saga: Saga) -> Observation:
        """The model's side."""
        rows = {name: row for name, row in zip(NAMES, saga.rows, strict=True) if row != NONE}
        return cls(
            saga.status,
            saga.turned_by,
            rows,
            saga.heard,
            saga.answers,
            saga.charged,
            saga.refunded,
            saga.held,
            saga.sold,
            saga.mail,
        )

    def differences(self, other: Observation) -> list[str]:
        """In words: what is here and not there, and the reverse."""
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in self._fields)
        return [f"{name}: {_only(a, b)} here, {_only(b, a)} in the model" for name, a, b in pairs if a != b]


def _only(mine: Any, theirs: Any) -> Any:
    if isinstance(mine, dict):
        return dict(sorted(mine.items() - theirs.items()))
    return sorted(mine - theirs) if isinstance(mine, frozenset) else mine
