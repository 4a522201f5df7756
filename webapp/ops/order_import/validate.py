"""The first reading: every line is judged, nothing is written."""

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
"""Orders that are judged together, or placed in one transaction."""
MAX_FAULTS = 20
"""Faults that are named; the rest is counted."""

PricedRecord = tuple[Record, PricedOrder]


@dataclass
class Findings:
    """What the first reading has found.

    :ivar good: orders that can be placed, or were.
    :ivar before: of those, how many were placed before.
    :ivar money: what the good ones cost in all, by currency, in minor units.
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
    """A file, how it is read, and the name under which its orders are known."""

    source: Source
    reader: Reader
    batch: str

    def price_batches(self, at_once: int = BATCH_SIZE) -> Iterator[list[PricedRecord | Fault]]:
        """The file from its beginning, so many orders at a time, each judged by itself.

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


def validate(job: Job, stop: StopRequest, told: Callable[[int], None] = lambda _: None) -> Findings:
    """Judge the whole file, or as much as there is time for until it is to stop.

    :param told: called with the number of orders judged so far.
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
        told(findings.good + findings.bad)
        if stop.requested:
            break
    return findings


def find_placed_orders(drafts: Iterator[PricedOrder]) -> dict[str, tuple[int, str]]:
    """Number and digest of those that were placed before, by key."""
    rows = Order.objects.filter(idempotency_key__in=[draft.key for draft in drafts])
    return {
        key: (number, digest)
        for key, number, digest in rows.values_list("idempotency_key", "id", "content_digest")
    }


def find_conflict(judged: PricedRecord, known: dict[str, tuple[int, str]]) -> Fault | None:
    """That another order was placed from this place of the batch before."""
    record, draft = judged
    number, digest = known.get(draft.key, (0, draft.digest))
    if digest == draft.digest:
        return None
    fault = f"was placed in this batch before with other content, as order {number}"
    return Fault(record.line, "line", fault, "Restore the line, or name another --batch")
