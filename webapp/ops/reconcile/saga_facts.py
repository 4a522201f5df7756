"""The facts about one saga from the three databases."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from webapp.ops.reconcile.codes import Finding, Violation


class OrderFacts(NamedTuple):
    """The facts from the orders database; ``age`` of the newest row and ``late`` since the deadline, in
    seconds.
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
    """The facts from the inventory database."""

    saga: str
    age: float | None
    number: str | None
    goods: str | None
    states: str | None
    movements: str | None
    disagree: bool
    journal: str | None


class MoneyFacts(NamedTuple):
    """The facts from the payments database."""

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
    """Return all that rules may branch on. Facts of one shape break the same rules; shapes are few."""
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
    """Return whether two texts list the same goods in any order."""
    return sorted((one or "").split()) == sorted((other or "").split())


class SagaFacts:
    """One saga as the rules read it."""

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
        """Seconds since its newest row, by that database's clock; audit events do not count."""
        return min(
            (row.age for row in self.known if row is not None and row.age is not None), default=math.inf
        )

    def violation(self, finding: Finding) -> Violation:
        """Turn a finding about this saga into a violation."""
        age = None if math.isinf(self.age) else self.age
        return Violation(finding.code, finding.evidence, age, self.order.number, self.saga)

    @cached_property
    def _rows(self) -> list[tuple[str, str, str]]:
        """For each journal row: step, state, and for a refused step the refusals of its pack, separated by
        ``:``.
        """
        texts = (self.order.journal, self.stock.journal, self.money.journal)
        rows = (row.rsplit("=", 1) for text in texts for row in (text or "").split())
        return [(step, *state.partition(":")[::2]) for step, state in rows]

    @cached_property
    def journal(self) -> dict[str, str]:
        """The state of each step in all three journals."""
        return {step: state for step, state, _ in self._rows}

    def emitted(self, participant: str) -> list[str]:
        """Return the refusals in the packs of a participant's refused steps."""
        packs = (names for step, _, names in self._rows if names and step.startswith(f"{participant}."))
        return [name for names in packs for name in names.split(":")]

    @cached_property
    def states(self) -> list[str]:
        """The state of each reserved line: held, released or shipped."""
        return (self.stock.states or "").split()

    @cached_property
    def charges(self) -> int:
        """The number of charges."""
        return (self.money.kinds or "").split().count("charge")

    @cached_property
    def refunds(self) -> int:
        """The number of refunds."""
        return (self.money.kinds or "").split().count("refund")

    def steps(self, *states: str) -> list[str]:
        """Return the steps in one of these states."""
        return sorted(step for step, state in self.journal.items() if state in states)

    # -- evidence: each side in its own words ------------------------------------------------------------

    def describe_order(self) -> str:
        """Describe the saga's row, as evidence."""
        if not self.status:
            return "no such saga"
        words = [self.status, "ended" if self.ended else "open"]
        if self.refusal:
            words.append(f"({self.refusal} by {self.refused_by})")
        return " ".join(words)

    def describe_stock(self) -> str:
        """Describe the reservations, as evidence."""
        if not self.states:
            return "nothing reserved"
        counted = {state: self.states.count(state) for state in self.states}
        return ", ".join(f"{n} line(s) {state}" for state, n in counted.items()) + f": {self.stock.goods}"

    def describe_money(self) -> str:
        """Describe the ledger, as evidence."""
        parts = list(self._describe_amount("charged", self.money.charge, self.charges))
        parts += self._describe_amount("refunded", self.money.refund, self.refunds)
        return ", ".join(parts) or "no charge"

    def describe_journal(self, *steps: str) -> str:
        """Describe the journal rows of these steps, or of all, as evidence."""
        rows = {step: self.journal.get(step, "no row") for step in steps} if steps else self.journal
        return ", ".join(f"{step} {state}" for step, state in sorted(rows.items())) or "nothing"

    @staticmethod
    def _describe_amount(verb: str, money: str | None, times: int) -> Iterator[str]:
        if times:
            yield f"{verb} {money or 'nothing (free of charge)'}" + (f" ({times} times)" if times > 1 else "")
