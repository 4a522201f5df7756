"""The first pass: validate every line, and write nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from webapp.ops.cli.graceful_stop import StopRequest
from webapp.ops.order_import.record import Fault, Reader, Record
from webapp.ops.order_import.source import Source
from webapp.orders.exceptions import OrderRefused
from webapp.orders.models import Order
from webapp.orders.pricing import PricedOrder, price_each

BATCH_SIZE = 200
"""Orders that are validated together, or placed in one transaction."""
MAX_FAULTS = 20
"""The most faults that are listed; the rest is counted."""

PricedRecord = tuple[Record, PricedOrder]


@dataclass
class Findings:
    """The result of the first pass.

    :ivar good: valid orders, including those already placed.
    :ivar before: how many of them are already placed.
    :ivar money: their total by currency, in minor units.
    """

    good: int = 0
    before: int = 0
    money: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    faults: list[Fault] = field(default_factory=list)

    def found(self, fault: Fault) -> None:
        self.bad += 1
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(fault)


@dataclass(frozen=True)
class Job:
    """A file, its reader, and the name of its batch."""

    source: Source
    reader: Reader
    batch: str

    def price_batches(self, at_once: int = BATCH_SIZE) -> Iterator[list[PricedRecord | Fault]]:
        """Read the file from its beginning; yield its orders in batches, each order priced or a fault.

        :raises FileRefused: when the file as a whole cannot be read.
        """
        records = self.reader(self.source.lines())
        while part := list(islice(records, at_once)):
            drafts = iter(
                price_each(record.order(self.batch) for record in part if isinstance(record, Record))
            )
            yield [
                record if isinstance(record, Fault) else _to_result(record, next(drafts)) for record in part
            ]


def _to_result(record: Record, judged: PricedOrder | OrderRefused) -> PricedRecord | Fault:
    return record.fault(judged) if isinstance(judged, OrderRefused) else (record, judged)


def validate(job: Job, stop: StopRequest, on_progress: Callable[[int], None] = lambda _: None) -> Findings:
    """Validate the file, or what is read before a stop is requested.

    :param on_progress: called with the number of orders validated so far.
    """
    findings = Findings()
    for part in job.price_batches():
        good = [each for each in part if not isinstance(each, Fault)]
        known = find_placed_orders(draft for _, draft in good)
        for each in part:
            if isinstance(each, Fault):
                findings.found(each)
            elif (fault := find_conflict(each, known)) is not None:
                findings.found(fault)
            else:
                findings.good += 1
                findings.before += each[1].key in known
                findings.money[each[1].signal.currency] += each[1].signal.amount
        on_progress(findings.good + findings.bad)
        if stop.requested:
            break
    return findings


def find_placed_orders(drafts: Iterator[PricedOrder]) -> dict[str, tuple[int, str]]:
    """Return number and digest of the orders that are already placed, by key."""
    rows = Order.objects.filter(idempotency_key__in=[draft.key for draft in drafts])
    return {
        key: (number, digest)
        for key, number, digest in rows.values_list("idempotency_key", "id", "content_digest")
    }


def find_conflict(judged: PricedRecord, known: dict[str, tuple[int, str]]) -> Fault | None:
    """Return a fault if this line of the batch was placed with other content."""
    record, draft = judged
    number, digest = known.get(draft.key, (0, draft.digest))
    if digest == draft.digest:
        return None
    fault = f"was already placed in this batch with other content, as order {number}"
    return Fault(record.line, "line", fault, "Restore the line, or use another --batch")
