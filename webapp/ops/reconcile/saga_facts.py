"""What the three databases say of one saga, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from webapp.ops.reconcile.codes import Finding, Violation


class OrderFacts(NamedTuple):
    """One row of the orders database; in seconds, ``age`` is that of its newest row, ``late`` since the
    deadline.
    """

    saga: str
    age: float | None
    late: float | None
    number: str | None
    bill: str | None
    goods: str | None
    status: str | None
    flags: str | None
    journal: str | None
    answers: str | None
    heard: str | None
    timers: str | None


class StockFacts(NamedTuple):
    """One row of the inventory database."""

    saga: str
    age: float | None
    number: str | None
    goods: str | None
    states: str | None
    movements: str | None
    disagree: bool
    journal: str | None


class MoneyFacts(NamedTuple):
    """One row of the payments database."""

    saga: str
    age: float | None
    number: str | None
    charge: str | None
    refund: str | None
    kinds: str | None
    journal: str | None


Rows = tuple[OrderFacts | None, StockFacts | None, MoneyFacts | None]

NO_ORDER = OrderFacts("", None, None, None, None, None, None, None, None, None, None, None)
NO_STOCK = StockFacts("", None, None, None, None, None, False, None)
NO_MONEY = MoneyFacts("", None, None, None, None, None, None)


def shape_of(rows: Rows) -> tuple[object, ...]:
    """All that rules may branch on: two stories of one shape break the same rules, and there are
    few shapes.
    """
    o, s, m = rows[0] or NO_ORDER, rows[1] or NO_STOCK, rows[2] or NO_MONEY
    return (
        *o[6:],
        s.states,
        s.disagree,
        s.journal,
        m.kinds,
        m.journal,
        o.number is None,
        s.number is None or s.number == o.number,
        m.number is None or m.number == o.number,
        s.goods is None or s.goods == o.goods or is_same_goods(s.goods, o.goods),
        m.charge is None or m.charge == o.bill,
        m.refund is None or m.refund == m.charge,
    )


def is_same_goods(one: str | None, other: str | None) -> bool:
    """Whether two texts list the same goods, in whatever order."""
    return sorted((one or "").split()) == sorted((other or "").split())


class SagaFacts:
    """One saga as the rules see it."""

    def __init__(self, rows: Rows) -> None:
        self.known = rows
        self.order, self.stock, self.money = rows[0] or NO_ORDER, rows[1] or NO_STOCK, rows[2] or NO_MONEY
        self.saga = next(row.saga for row in rows if row is not None)
        name, status, ended, overdue, refusal, refused_by, participants = (
            self.order.status or "||||||"
        ).split("|")
        self.name, self.status, self.refusal, self.refused_by = name, status, refusal, refused_by
        self.ended, self.overdue = bool(ended), bool(overdue)
        self.forgotten = ended == "forgotten"  # ended before the horizon of pruning
        self.participants = participants.split()
        confirmed, self.cancel, wrong_sum = (self.order.flags or "||").split("|", 2)
        self.confirmed, self.wrong_sum = bool(confirmed), bool(wrong_sum)

    @property
    def age(self) -> float:
        """Seconds since the newest row that tells of it, the audit trail's left out, by that database's
        clock.
        """
        return min(
            (row.age for row in self.known if row is not None and row.age is not None), default=math.inf
        )

    def violation(self, finding: Finding) -> Violation:
        """What breaks a rule for good."""
        age = None if math.isinf(self.age) else self.age
        return Violation(finding.code, finding.evidence, age, self.order.number, self.saga)

    @cached_property
    def _rows(self) -> list[tuple[str, str, str]]:
        """Of each journal row the step, its state, and if it refused, ``:`` and the refusals in its pack."""
        texts = (self.order.journal, self.stock.journal, self.money.journal)
        rows = (row.rsplit("=", 1) for text in texts for row in (text or "").split())
        return [(step, *state.partition(":")[::2]) for step, state in rows]

    @cached_property
    def journal(self) -> dict[str, str]:
        """The state of each step, of all participants whose databases were read."""
        return {step: state for step, state, _ in self._rows}

    def emitted(self, participant: str) -> list[str]:
        """The refusals in the packs of a participant's refusing steps."""
        packs = (names for step, _, names in self._rows if names and step.startswith(f"{participant}."))
        return [name for names in packs for name in names.split(":")]

    @cached_property
    def states(self) -> list[str]:
        """Of each reserved line: held, released, shipped."""
        return (self.stock.states or "").split()

    @cached_property
    def charges(self) -> int:
        """How often money was taken."""
        return (self.money.kinds or "").split().count("charge")

    @cached_property
    def refunds(self) -> int:
        """How often money was given back."""
        return (self.money.kinds or "").split().count("refund")

    def steps(self, *states: str) -> list[str]:
        """The steps in one of these states."""
        return sorted(step for step, state in self.journal.items() if state in states)

    # -- evidence: each side in its own words
    # ------------------------------------------------------------------------

    def describe_order(self) -> str:
        """What the orders database says."""
        if not self.status:
            return "no such saga"
        words = [self.status, "ended" if self.ended else "open"]
        if self.refusal:
            words.append(f"({self.refusal} by {self.refused_by})")
        return " ".join(words)

    def describe_stock(self) -> str:
        """What the reservations say."""
        if not self.states:
            return "nothing reserved"
        counted = {state: self.states.count(state) for state in self.states}
        return ", ".join(f"{n} line(s) {state}" for state, n in counted.items()) + f": {self.stock.goods}"

    def describe_money(self) -> str:
        """What the ledger says."""
        parts = list(self._describe_amount("charged", self.money.charge, self.charges))
        parts += self._describe_amount("refunded", self.money.refund, self.refunds)
        return ", ".join(parts) or "no charge"

    def describe_journal(self, *steps: str) -> str:
        """What the journals say of these steps, or of all."""
        rows = {step: self.journal.get(step, "no row") for step in steps} if steps else self.journal
        return ", ".join(f"{step} {state}" for step, state in sorted(rows.items())) or "nothing"

    @staticmethod
    def _describe_amount(verb: str, money: str | None, times: int) -> Iterator[str]:
        if times:
            yield f"{verb} {money or 'nothing (free of charge)'}" + (f" ({times} times)" if times > 1 else "")
