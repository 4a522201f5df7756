"""Every violation by its name. The names are stable: scripts may rely on them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

INCOMPLETE = "audit-incomplete"

CHECKS: dict[str, dict[str, str]] = {
    "orders and sagas": {
        "order-without-saga": "an order has no saga",
        "saga-without-order": "a saga has no order",
        "order-not-its-lines": "an order's amount is not the sum of its lines",
        "status-disagrees": "a saga's status is not what its deciding steps have decided",
        "participant-not-listed": "a saga's list of participants lacks one that every order has",
    },
    "orphans": {
        "orphan-in-orders": "journal, answers or audit trail of a saga that does not exist",
        "orphan-in-inventory": "stock or journal of a saga that does not exist",
        "orphan-in-payments": "money or journal of a saga that does not exist",
    },
    "money": {
        "charged-not-confirmed": "a rolled back order keeps its money charged",
        "confirmed-not-charged": "a confirmed order was never charged",
        "confirmed-and-refunded": "a confirmed order was charged and refunded",
        "charged-twice": "a saga has more than one charge, or more than one refund",
        "refund-without-charge": "money was given back that was never taken",
        "charge-not-as-ordered": "wallet, amount or currency charged are not the order's",
        "refund-not-as-charged": "wallet, amount or currency refunded are not those charged",
        "ledger-names-other-order": "the ledger names another order than the saga's",
    },
    "goods": {
        "held-after-end": "an ended order still holds stock",
        "confirmed-not-shipped": "a confirmed order's lines are not all shipped",
        "shipped-not-confirmed": "a rolled back order's goods are shipped",
        "goods-not-as-ordered": "SKUs or quantities reserved are not the order's lines",
        "movements-disagree": "a saga's movements do not explain its reservations",
        "reservation-names-other-order": "a reservation names another order than the saga's",
    },
    "journal and effects": {
        "effect-without-journal": "something was done that no journal row tells of",
        "journal-without-effect": "a journal row tells of something that is not there",
        "journal-left-open": "an ended saga's journal is still retrying, calling or undoing",
        "refusal-without-refuser": "no journal row tells of the refusal that turned the saga round",
        "refusal-not-heard": "a participant of a rolled back saga has not heard its refusal",
        "refused-though-confirmed": "a confirmed and complete saga was refused somewhere",
        "refusal-renamed": "the refusal in a saga's row is not the one that its participant emitted",
        "step-not-barred": "a participant received a refusal, and one of its steps may still run",
    },
    "answers": {"answer-missing": "a rolled back saga was closed without all its participants' answers"},
    "cancellations": {
        "cancel-unanswered": "an ended order's cancel request has no answer",
        "cancel-told-wrong": "the answer to a cancel request is not what became of it",
    },
    "deadlines": {
        "overdue": "a saga is open past its deadline and the grace",
        "timer-left": "an ended saga still has a deadline or a watchdog in the outbox",
    },
    "audit trail": {INCOMPLETE: "an ended order's audit trail lacks what was said, and it is not on its way"},
    "stock per SKU": {
        "stock-lost": "on hand + held + sold is not what was received",
        "product-not-its-reservations": "held or sold is not the sum of the reservations",
        "product-not-its-movements": "a product's counters are not what its movements explain",
    },
    "ledger": {
        "transaction-unbalanced": "a ledger transaction's entries do not sum to zero",
        "wallet-not-its-entries": "a wallet's balance is not the sum of its entries",
        "ledger-account-wrong": "an entry's account or sign is not one that its kind of transaction has",
    },
    "packs": {"pack-missing": "journal, saga or outbox refer to a pack that is not there"},
    "outboxes": {"outbox-stalled": "rows are due for longer than the grace: is the relay running?"},
}
"""What is checked, and the violations each check may name."""

MEANING = {code: meaning for codes in CHECKS.values() for code, meaning in codes.items()}
CHECK_OF = {code: check for check, codes in CHECKS.items() for code in codes}

MAX_KEPT = 1000
"""Violations of one code kept with their evidence; further ones are only counted, so that memory stays
bounded.
"""


class Finding(NamedTuple):
    """A rule is broken: its code, and both sides of the disagreement."""

    code: str
    evidence: dict[str, str]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule is broken, and not only for the moment.

    :ivar age: seconds since the newest row involved was written, as far as the rows tell.
    """

    code: str
    evidence: dict[str, str]
    age: float | None = None
    order: str | None = None
    saga: str | None = None


class Lag(NamedTuple):
    """Audit trails that lack events which are still on their way.

    :ivar orders: how many ended orders lack some.
    :ivar rows: rows of the outboxes that the audit has not received yet.
    :ivar queued: messages in the audit's queue; None when the broker did not say.
    :ivar oldest: seconds since the oldest of all these was written, as far as that is known.
    """

    orders: int
    rows: int
    queued: int | None
    oldest: float | None


@dataclass(slots=True)
class Report:
    """What an audit has found.

    :ivar looked_at: how many orders, SKUs, … were read.
    :ivar counts: all violations by code; ``violations`` keeps the first :data:`MAX_KEPT` of each.
    :ivar lag: what the audit trail still waits for, if it lacks anything; no violation.
    :ivar moving: suspects that kept changing while they were watched; nothing is said against them.
    """

    looked_at: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lag: Lag | None = None
    moving: int = 0
    seconds: float = 0.0

    def add(self, violation: Violation) -> None:
        """Count a violation, and keep it if there are not too many of its kind."""
        self.counts[violation.code] += 1
        if self.counts[violation.code] <= MAX_KEPT:
            self.violations.append(violation)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong; warnings and lag do not count."""
        return not self.counts
