"""The second pass: place the orders, some hundred in each transaction."""

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
    """A line that the first pass accepted is no longer valid, and bad lines are not skipped."""


class Loader:
    """One run of :meth:`run`, with its current figures.

    :ivar placed: new orders.
    :ivar before: orders that were placed by an earlier run.
    :ivar skipped: orders that were skipped as bad.
    :ivar first: the lowest order number of this batch, new or not.
    :ivar seconds: how long it has taken.
    """

    def __init__(
        self,
        job: Job,
        stop: StopRequest,
        on_progress: Callable[[], None] = lambda: None,
        *,
        skip_bad: bool = False,
    ) -> None:
        """:param on_progress: called after each transaction."""
        self._job, self._stop, self._on_progress, self._skip_bad = job, stop, on_progress, skip_bad
        self.placed = self.before = self.skipped = 0
        self.first: int | None = None
        self.seconds = 0.0

    def run(self, at_once: int = BATCH_SIZE) -> None:
        """Place the file, or what is placed before a stop is requested.

        :raises LineRefused: when a line is bad and not skipped; earlier transactions stay committed.
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
            except IdempotencyConflict as error:  # another import of this batch with other content is running
                raise LineRefused(str(error)) from error
            self.placed += done.new
            self.before += len(done.orders) - done.new
            self.first = min(
                [order.id for order in done.orders] + ([] if self.first is None else [self.first]),
                default=None,
            )
            self.seconds = time.monotonic() - started
            reset_queries()  # with DEBUG on, Django keeps all queries in memory
            self._on_progress()
