"""The second reading: what was judged is placed, some hundred orders to a transaction."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db import reset_queries

from webapp.ops.cli.graceful_stop import StopRequest
from webapp.ops.order_import.record import Fault
from webapp.ops.order_import.validate import BATCH_SIZE, Job, find_conflict, find_placed_orders
from webapp.orders.exceptions import IdempotencyConflict
from webapp.orders.services import place_priced


class LineRefused(Exception):
    """A line that was good in the first reading is not any more, and bad ones are not to be skipped."""


class Loader:
    """One run of :meth:`run`; its figures are true at any moment.

    :ivar placed: orders that are new.
    :ivar before: orders that were placed before.
    :ivar skipped: orders that were left out.
    :ivar first: the lowest number of an order of this batch, new or not.
    :ivar seconds: how long it has taken.
    """

    def __init__(
        self, job: Job, stop: StopRequest, told: Callable[[], None] = lambda: None, *, skip_bad: bool = False
    ) -> None:
        """:param told: called after each transaction."""
        self._job, self._stop, self._told, self._skip_bad = job, stop, told, skip_bad
        self.placed = self.before = self.skipped = 0
        self.first: int | None = None
        self.seconds = 0.0

    def run(self, at_once: int = BATCH_SIZE) -> None:
        """Place the whole file, or as much as there is time for until it is to stop.

        :raises LineRefused: when a line is bad and is not to be skipped; the transactions before it stand.
        """
        started = time.monotonic()
        for part in self._job.price_batches(at_once):
            if self._stop.requested:
                return
            wanted = [each for each in part if not isinstance(each, Fault)]
            known = find_placed_orders(draft for _, draft in wanted)
            faults = [each for each in part if isinstance(each, Fault)]
            faults += [fault for each in wanted if (fault := find_conflict(each, known)) is not None]
            if faults and not self._skip_bad:
                raise LineRefused(str(min(faults)))
            self.skipped += len(faults)
            try:
                done = place_priced(
                    [draft for record, draft in wanted if find_conflict((record, draft), known) is None]
                )
            except IdempotencyConflict as error:  # somebody places another file under this name right now
                raise LineRefused(str(error)) from error
            self.placed += done.new
            self.before += len(done.orders) - done.new
            self.first = min(
                [order.id for order in done.orders] + ([] if self.first is None else [self.first]),
                default=None,
            )
            self.seconds = time.monotonic() - started
            reset_queries()  # with Django's DEBUG on, it would keep them
            self._told()
