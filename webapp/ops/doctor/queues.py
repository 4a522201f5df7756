"""Findings that both kinds of broker share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ordersaga.celery.topology import DEAD_SUFFIX, KIND, UNHEARD
from ordersaga.errors import OtherSaga
from webapp.ops.doctor.finding import Finding, error, warning


def format_bindings(bindings: Iterable[tuple[str, str]]) -> str:
    """Format bindings as exchange → key."""
    return ", ".join(f"{exchange} → {key or '(everything)'}" for exchange, key in bindings)


def other_saga_finding(refused: OtherSaga) -> Finding:

    return error(
        "other-saga",
        f"exchange {KIND}",
        "the virtual host belongs to another kind of saga",
        f"it belongs to {refused.other}",
        "Use a separate virtual host for each kind of saga: ORDERSAGA_BROKER_URL",
    )


REMEDY = "Run an observer that drains it (ORDERSAGA_OBSERVERS=workers.audit), or inspect and purge it"


def is_dead_letter_queue(queue: str) -> bool:
    """Return whether a queue holds dead letters or unrouted messages."""
    return queue == UNHEARD.name or queue.endswith(DEAD_SUFFIX)


def check_unconsumed(queue: str, messages: int) -> Iterator[Finding]:
    """Report the messages of a queue without consumers."""
    if not messages:
        return
    if queue == UNHEARD.name:
        what = "messages reached no queue: a binding was missing, or another installation sent them"
        yield warning("messages-unrouted", f"queue {queue}", what, f"{messages} messages", REMEDY)
    else:
        yield warning(
            "dead-letters-waiting",
            f"queue {queue}",
            "no process consumes its dead letters",
            f"{messages} messages",
            REMEDY,
        )
