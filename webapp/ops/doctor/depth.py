"""Messages that ended in a queue which nobody consumes."""

from __future__ import annotations

from collections.abc import Iterator

from ordersaga.celery.topology import DEAD_SUFFIX, UNHEARD
from webapp.ops.doctor.finding import Finding, warning

REMEDY = "Run an observer that drains it (ORDERSAGA_OBSERVERS=workers.audit), or look at it and purge it"


def keeps_what_ended(queue: str) -> bool:
    """Whether a queue keeps messages that reached no participant."""
    return queue == UNHEARD.name or queue.endswith(DEAD_SUFFIX)


def not_consumed(queue: str, messages: int) -> Iterator[Finding]:
    """How many messages a queue without consumers holds."""
    if not messages:
        return
    if queue == UNHEARD.name:
        what = "messages reached no queue: a binding was missing, or they are none of this installation's"
        yield warning("messages-unrouted", f"queue {queue}", what, f"{messages} messages", REMEDY)
    else:
        yield warning(
            "dead-letters-waiting", f"queue {queue}", "no process takes its dead letters", f"{messages} messages", REMEDY
        )
