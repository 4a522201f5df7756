"""The codes of violations, which are stable for scripts, and the report of an audit."""

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
        "participant-not-listed": "a saga's list of participants lacks one that every order needs",
    },
    "orphans": {
        "orphan-in-orders": "journal, answers or audit events of a saga that does not exist",
        "orphan-in-inventory": "stock or journal of a saga that does not exist",
        "orphan-in-payments": "money or journal of a saga that does not exist",
    },
    "money": {
        "charged-not-confirmed": "a rolled back order was charged and not refunded",
        "confirmed-not-charged": "a confirmed order was never charged",
        "confirmed-and-refunded": "a confirmed order was charged and refunded",
        "charged-twice": "a saga has more than one charge, or more than one refund",
        "refund-without-charge": "a refund has no charge",
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
        "effect-without-journal": "an effect has no journal row",
        "journal-without-effect": "a journal row has no effect",
        "journal-left-open": "an ended saga's journal is still retrying, calling or undoing",
        "refusal-without-refuser": "no journal row contains the refusal that rolled the saga back",
        "refusal-not-heard": "a participant of a rolled back saga has not received its refusal",
        "refused-though-confirmed": "a confirmed and complete saga was refused somewhere",
        "refusal-renamed": "the refusal in a saga's row is not the one that its participant emitted",
        "step-not-barred": "a participant received a refusal, and one of its steps may still run",
    },
    "answers": {"answer-missing": "a rolled back saga was closed without all its participants' answers"},
    "cancellations": {
        "cancel-unanswered": "an ended order's cancel request has no answer",
        "cancel-told-wrong": "the outcome of a cancel request contradicts the journal",
    },
    "deadlines": {
        "overdue": "a saga is open past its deadline and the grace",
        "timer-left": "an ended saga still has a deadline or a watchdog in the outbox",
    },
    "audit trail": {INCOMPLETE: "an ended order's audit trail lacks events, and they are not in transit"},
    "stock per SKU": {
        "stock-lost": "on hand + held + sold is not what was received",
        "product-not-its-reservations": "held or sold is not the sum of the reservations",
        "product-not-its-movements": "a product's counters are not the sum of its movements",
    },
    "ledger": {
        "transaction-unbalanced": "a ledger transaction's entries do not sum to zero",
        "wallet-not-its-entries": "a wallet's balance is not the sum of its entries",
        "ledger-account-wrong": "an entry's account or sign does not match the kind of its transaction",
    },
    "packs": {"pack-missing": "a journal, saga or outbox row refers to a pack that does not exist"},
    "outboxes": {"outbox-stalled": "rows are due for longer than the grace; check that the relay runs"},
}
"""The checks, and by code the violations that each may report."""

MEANING = {code: meaning for codes in CHECKS.values() for code, meaning in codes.items()}
CHECK_OF = {code: check for check, codes in CHECKS.items() for code in codes}

MAX_KEPT = 1000
"""Violations of one code kept with their evidence; others are only counted, which bounds the memory."""


class Finding(NamedTuple):
    """A broken rule: its code, and both sides of the disagreement."""

    code: str
    evidence: dict[str, str]


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule that has remained longer than the grace.

    :ivar age: seconds since the newest row involved was written, if it is known.
    """

    code: str
    evidence: dict[str, str]
    age: float | None = None
    order: str | None = None
    saga: str | None = None


class Lag(NamedTuple):
    """Events in transit to the audit trail.

    :ivar orders: how many ended orders lack events.
    :ivar rows: outbox rows that the audit has not received yet.
    :ivar queued: messages in the audit's queue; None when it is unknown.
    :ivar oldest: the age of the oldest of these in seconds, if it is known.
    """

    orders: int
    rows: int
    queued: int | None
    oldest: float | None


@dataclass(slots=True)
class Report:
    """The result of an audit.

    :ivar looked_at: how many orders, SKUs and wallets were read.
    :ivar counts: all violations by code; ``violations`` keeps the first :data:`MAX_KEPT` of each.
    :ivar lag: events in transit to the audit trail; no violation.
    :ivar moving: suspects that still changed when the audit ended; they are not counted as violations.
    """

    looked_at: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lag: Lag | None = None
    moving: int = 0
    seconds: float = 0.0

    def add(self, violation: Violation) -> None:
        """Count a violation, and keep it unless :data:`MAX_KEPT` of its code are kept."""
        self.counts[violation.code] += 1
        if self.counts[violation.code] <= MAX_KEPT:
            self.violations.append(violation)

    @property
    def clean(self) -> bool:
        """Whether there is no violation; warnings and lag do not count."""
        return not self.counts
