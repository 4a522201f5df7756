"""How a demo went, for machines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Outcome:
    """What is known of a demo, at any moment.

    :ivar clean: whether every order has settled and the books agree, once that is known.
    :ivar fault: why it could not go on, and what to do.
    :ivar orders: what ``seed_orders --json`` has said.
    :ivar books: what ``reconcile --json`` has said.
    """

    clean: bool | None = None
    fault: str | None = None
    orders: dict[str, Any] | None = None
    books: dict[str, Any] | None = None

    def as_json(self, steps: list[tuple[str, float]], seconds: float, logs: Path) -> str:
        """One object; ``steps`` are the demo's own, with the seconds that each took."""
        told = {
            "clean": bool(self.clean),
            "fault": self.fault,
            "orders": self.orders,
            "books": self.books,
            "steps": [{"step": what, "seconds": round(took, 3)} for what, took in steps],
            "seconds": round(seconds, 3),
            "logs": str(logs),
        }
        return json.dumps(told, indent=2)


def said_in(path: Path) -> dict[str, Any] | None:
    """The object that a command has printed; None when it ended before."""
    text = path.read_text()
    said: dict[str, Any] | None = json.loads(text) if text else None
    return said
