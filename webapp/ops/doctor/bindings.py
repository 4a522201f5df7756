"""What the broker's exchanges and bindings say, for people."""

from __future__ import annotations

from collections.abc import Iterable

from ordersaga.celery.topology import KIND
from ordersaga.errors import OtherSaga
from webapp.ops.doctor.finding import Finding, error


def as_text(bindings: Iterable[tuple[str, str]]) -> str:
    """Exchange and key of each, for people."""
    return ", ".join(f"{exchange} → {key or '(everything)'}" for exchange, key in bindings)


def other_saga(refused: OtherSaga) -> Finding:
    """The virtual host carries another kind of saga."""
    return error(
        "other-saga", f"exchange {KIND}", "the virtual host carries another kind of saga", f"it carries {refused.other}",
        "Use a separate virtual host for each kind of saga: ORDERSAGA_BROKER_URL",
    )  # fmt: skip
