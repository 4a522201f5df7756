"""Wait until orders have settled, and explain why they may not."""

from __future__ import annotations

import time

from rich.progress import Progress

from ordersaga.database import first_line
from webapp.ops.broker import describe_alarm, why_blocked_at
from webapp.ops.cli.graceful_stop import StopRequest
from webapp.ops.loadgen.stats import Stats
from workers.celery_app import application
from workers.settings import settings

TIMEOUT = 120.0
"""The default of ``--timeout``, in seconds."""
POLL = 0.25


class SettlementProgress:
    """A bar that fills as the orders whose keys begin with ``key`` settle."""

    def __init__(self, key: str, bars: Progress, count: int, stop: StopRequest) -> None:
        """:param count: the expected number of orders."""
        self._key, self._bars, self._stop = key, bars, stop
        self._bar = bars.add_task("settled", total=count)
        self._tally: Stats | None = None
        self._looked = 0.0

    def refresh(self, first: int | None, placed: int) -> None:
        """Update the bar, unless it was updated a moment ago.

        :param first: the lowest order number, once there is one.
        """
        if time.monotonic() - self._looked > 2 * POLL:
            self._count(first, placed)

    def wait(self, first: int | None, placed: int, seconds: float) -> None:
        """Wait until all have settled, for at most ``seconds``, or until a stop is requested."""
        deadline = time.monotonic() + seconds
        self._bars.update(self._bar, total=placed)
        while placed and self._count(first, placed) and time.monotonic() < deadline:
            took = time.monotonic() - self._looked
            if not self._stop.wait_until(min(deadline, time.monotonic() + max(POLL, took))):
                return

    def _count(self, first: int | None, placed: int) -> int:
        """Return how many are open."""
        if self._tally is None and first is not None:
            self._tally = Stats(self._key, first)
        self._looked = time.monotonic()
        left = self._tally.open() if self._tally else 0
        self._bars.update(self._bar, completed=placed - left)
        return left


INSPECT_SECONDS = 2.0
"""Seconds within which a running pool answers."""


def explain_waiting() -> str:
    """Return one sentence on why orders have not settled."""
    wanted = [module.rsplit(".", 1)[-1] for module in settings().participants]
    modules = dict(zip(wanted, settings().participants, strict=True))
    try:
        if reason := why_blocked_at(settings().broker_url):
            return f"{describe_alarm(reason)} These orders continue as soon as it does."
        listening = _consumed_queues(wanted[0])
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the broker is the hint
        return f"The broker does not answer ({first_line(error)}). Start it, or correct ORDERSAGA_BROKER_URL."
    if missing := [name for name in wanted if name not in listening]:
        commands = " and ".join(f"celery -A {modules[name]} worker" for name in missing)
        return f"No pool answers for {', '.join(missing)}. Start: {commands}"
    return (
        "All pools answer, so the orders may need more time. The admin's list of sagas shows their progress."
    )


def _consumed_queues(name: str) -> set[str]:
    """Return the queues that a pool consumes."""
    app = application(name)
    app.control.mailbox._producer_pool = None  # use the connection below, which is closed here
    with app.connection_for_write(connect_timeout=INSPECT_SECONDS) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=2 * INSPECT_SECONDS)
        answers = app.control.inspect(timeout=INSPECT_SECONDS, connection=connection).active_queues() or {}
    return {queue["name"] for queues in answers.values() for queue in queues}
