"""The first reading: every line is judged, nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from webapp.ops.cli.graceful_stop import Stop
from webapp.ops.order_import.record import Fault, Reader, Record
from webapp.ops.order_import.source import Source
from webapp.orders.exceptions import OrderRefused
from webapp.orders.models import Order
from webapp.orders.pricing import Draft, judge

AT_ONCE = 200
"""Orders that are judged together, or placed in one transaction."""
SHOWN = 20
"""Faults that are named; the rest is counted."""

Judged = tuple[Record, Draft]


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
        if len(self.faults) < SHOWN:
            self.faults.append(fault)


@dataclass(frozen=True)
class Job:
    """A file, how it is read, and the name under which its orders are known."""

    source: Source
    reader: Reader
    batch: str

    def judged(self, at_once: int = AT_ONCE) -> Iterator[list[Judged | Fault]]:
        """The file from its beginning, so many orders at a time, each judged by itself.

        :raises FileRefused: when the file as a whole cannot be read.
        """
        records = self.reader(self.source.lines())
        while part := list(islice(records, at_once)):
            drafts = iter(judge(record.order(self.batch) for record in part if isinstance(record, Record)))
            yield [record if isinstance(record, Fault) else _verdict(record, next(drafts)) for record in part]


def _verdict(record: Record, judged: Draft | OrderRefused) -> Judged | Fault:
    return record.fault(judged) if isinstance(judged, OrderRefused) else (record, judged)


def check(job: Job, stop: Stop, told: Callable[[int], None] = lambda _: None) -> Findings:
    """Judge the whole file, or as much as there is time for until it is to stop.

    :param told: called with the number of orders judged so far.
    """
    findings = Findings()
    for part in job.judged():
        good = [each for each in part if not isinstance(each, Fault)]
        known = known_orders(draft for _, draft in good)
        for each in part:
            if isinstance(each, Fault):
                findings.found(each)
            elif (fault := contradiction(each, known)) is not None:
                findings.found(fault)
            else:
                findings.good += 1
                findings.before += each[1].key in known
                findings.money[each[1].said.currency] += each[1].said.amount
        told(findings.good + findings.bad)
        if stop.wanted:
            break
    return findings


def known_orders(drafts: Iterator[Draft]) -> dict[str, tuple[int, str]]:
    """Number and digest of those that were placed before, by key."""
    rows = Order.objects.filter(idempotency_key__in=[draft.key for draft in drafts])
    return {
        key: (number, digest)
        for key, number, digest in rows.values_list("idempotency_key", "id", "content_digest")
    }


def contradiction(judged: Judged, known: dict[str, tuple[int, str]]) -> Fault | None:
    """That another order was placed from this place of the batch before."""
    record, draft = judged
    number, digest = known.get(draft.key, (0, draft.digest))
    if digest == draft.digest:
        return None
    fault = f"was placed in this batch before with other content, as order {number}"
    return Fault(record.line, "line", fault, "Restore the line, or name another --batch")
