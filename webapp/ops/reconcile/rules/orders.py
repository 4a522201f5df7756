"""Rules of orders and sagas: status, amounts, answers, cancellations, deadlines."""

from __future__ import annotations

from collections.abc import Iterator

from webapp.ops.reconcile.codes import Finding
from webapp.ops.reconcile.saga_facts import SagaFacts

CONFIRM, EXPIRE, CANCEL = "orders.confirm_order", "orders.expire_order", "orders.cancel"
PARTICIPANTS = ("orders", "inventory", "payments")
"""The participants of every order, whose journals are read; the answers of others are trusted."""
WAS_CONFIRMED = ("done", "undoing", "undone")
CANCEL_STATES = {"cancelled": ("refused",), "too_late": ("void", "barred")}
"""The allowed states of the cancelling step by the outcome of the request; barred: another refusal was first.
"""


def check_orphans(facts: SagaFacts) -> Iterator[Finding]:
    """Check for an order without a saga, a saga without an order, and rows of a saga that does not exist."""
    order = f"order {facts.order.number}" if facts.order.number is not None else "no order"
    if facts.status:
        yield Finding("saga-without-order", {"saga": facts.describe_order(), "orders": order})
        return
    if facts.order.number is not None:
        yield Finding("order-without-saga", {"orders": order, "saga": "no row"})
    o, s, m = facts.known
    if o is not None and (o.journal or o.answers or o.heard or o.timers):
        left = {"journal": o.journal, "answers": o.answers, "audit trail": o.heard, "timers": o.timers}
        yield Finding(
            "orphan-in-orders", {name: text for name, text in left.items() if text} | {"saga": "no row"}
        )
    if s is not None:
        said = {
            "journal": s.journal or "nothing",
            "stock": facts.describe_stock(),
            "movements": s.movements or "none",
        }
        yield Finding("orphan-in-inventory", said | {"saga": "no row"})
    if m is not None:
        said = {"journal": m.journal or "nothing", "ledger": facts.describe_money()}
        yield Finding("orphan-in-payments", said | {"saga": "no row"})


def check_status(facts: SagaFacts) -> Iterator[Finding]:
    """Check the saga's status against the deciding steps, and the order's amount."""
    state = facts.journal.get(CONFIRM, "no row")
    confirmed = {"PENDING": state not in WAS_CONFIRMED, "CONFIRMED": state == "done"}
    agrees = confirmed.get(facts.status, True)
    if facts.status == "ROLLED_BACK":
        agrees = state not in ("done", "undoing")
    if facts.status in ("PENDING", "CONFIRMED"):
        agrees &= "refused" not in (facts.journal.get(EXPIRE), facts.journal.get(CANCEL))
    if not agrees:
        said = {"status": facts.describe_order(), "journal": facts.describe_journal(CONFIRM, EXPIRE, CANCEL)}
        yield Finding("status-disagrees", said)
    yield from check_amount(facts)


def check_participants(facts: SagaFacts) -> Iterator[Finding]:
    """Check that the list of the saga's start contains the participants of every order."""
    if missing := [name for name in PARTICIPANTS if name not in facts.participants]:
        yield Finding(
            "participant-not-listed", {"listed": " ".join(facts.participants), "missing": " ".join(missing)}
        )


def check_amount(facts: SagaFacts) -> Iterator[Finding]:
    """Check that the order's amount is the sum of its lines."""
    if facts.wrong_sum:
        said = {"order": facts.order.bill or "0", "lines": f"{facts.order.goods or 'none'}, of another sum"}
        yield Finding("order-not-its-lines", said)


def check_answers(facts: SagaFacts) -> Iterator[Finding]:
    """Check that every participant of a rolled back saga has answered."""
    given = (facts.order.answers or "").split()
    missing = [name for name in facts.participants if name not in given]
    if facts.status == "ROLLED_BACK" and missing:
        said = {
            "saga": facts.describe_order(),
            "answered": " ".join(given) or "none",
            "missing": " ".join(missing),
        }
        yield Finding("answer-missing", said)


def check_cancellation(facts: SagaFacts) -> Iterator[Finding]:
    """Check that the outcome of a cancel request matches the journal."""
    asked, state = facts.cancel, facts.journal.get(CANCEL, "no row")
    if not asked:
        return
    if asked == "asked" and facts.ended:
        yield Finding(
            "cancel-unanswered", {"saga": facts.describe_order(), "journal": facts.describe_journal(CANCEL)}
        )
    if asked != "asked" and state not in CANCEL_STATES.get(asked, ()):
        yield Finding("cancel-told-wrong", {"told": asked, "journal": facts.describe_journal(CANCEL)})


def check_deadline(facts: SagaFacts) -> Iterator[Finding]:
    """Check that no saga is open long after its deadline."""
    if facts.overdue:
        late = f"{facts.order.late:,.0f} s ago" if facts.order.late is not None else "unknown"
        yield Finding(
            "overdue", {"saga": facts.describe_order(), "deadline": late, "journal": facts.describe_journal()}
        )


def check_timers(facts: SagaFacts) -> Iterator[Finding]:
    """Check that an ended saga has no timers, which its last transaction deletes."""
    if facts.ended and facts.order.timers:
        yield Finding("timer-left", {"saga": facts.describe_order(), "timers": facts.order.timers})
