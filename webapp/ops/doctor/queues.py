"""What the broker's exchanges and bindings say, for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ordersaga.celery.topology import DEAD_SUFFIX, KIND, UNHEARD
from ordersaga.errors import OtherSaga
from webapp.ops.doctor.finding import Finding, error, warning


def format_bindings(bindings: Iterable[tuple[str, str]]) -> str:
    """Exchange and key of each, for people."""
    return ", ".join(f"{exchange} → {key or '(everything)'}" for exchange, key in bindings)


def other_saga_finding(refused: OtherSaga) -> Finding:
    """The virtual host carries another kind of saga."""
    return error(
        "other-saga",
        f"exchange {KIND}",
        "the virtual host carries another kind of saga",
        f"it carries {refused.other}",
        "Use a separate virtual host for each kind of saga: ORDERSAGA_BROKER_URL",
    )


REMEDY = "Run an observer that drains it (ORDERSAGA_OBSERVERS=workers.audit), or look at it and purge it"


def is_dead_letter_queue(queue: str) -> bool:
    """Whether a queue keeps messages that reached no participant."""
    return queue == UNHEARD.name or queue.endswith(DEAD_SUFFIX)


def check_unconsumed(queue: str, messages: int) -> Iterator[Finding]:
    """How many messages a queue without consumers holds."""
    if not messages:
        return
    if queue == UNHEARD.name:
        what = "messages reached no queue: a binding was missing, or they are none of this installation's"
        yield warning("messages-unrouted", f"queue {queue}", what, f"{messages} messages", REMEDY)
    else:
        yield warning(
            "dead-letters-waiting",
            f"queue {queue}",
            "no process takes its dead letters",
            f"{messages} messages",
            REMEDY,
        )
