"""Orders and sagas: each has the other, the status is what was decided, and who waits is answered."""

from __future__ import annotations

from collections.abc import Iterator

from webapp.ops.reconcile.codes import Finding
from webapp.ops.reconcile.saga_facts import SagaFacts

CONFIRM, EXPIRE, CANCEL = "orders.confirm_order", "orders.expire_order", "orders.cancel"
PARTICIPANTS = ("orders", "inventory", "payments")
"""The participants of every order, whose journals are read; others, wherever they are, are taken at their
word.
"""
WAS_CONFIRMED = ("done", "undoing", "undone")
CANCEL_STATES = {"cancelled": ("refused",), "too_late": ("void", "barred")}
"""What the journal may say of the cancelling step, by what the customer was told. Barred: another refusal
came first.
"""


def check_orphans(facts: SagaFacts) -> Iterator[Finding]:
    """Order, saga and everybody else's rows, when one of the first two is missing."""
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
    """The saga's status is what the deciding steps have decided, and :func:`check_amount`."""
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
    """The list that was frozen when the saga began names all that take part in every order."""
    if missing := [name for name in PARTICIPANTS if name not in facts.participants]:
        yield Finding(
            "participant-not-listed", {"listed": " ".join(facts.participants), "missing": " ".join(missing)}
        )


def check_amount(facts: SagaFacts) -> Iterator[Finding]:
    """The order is worth its lines."""
    if facts.wrong_sum:
        said = {"order": facts.order.bill or "0", "lines": f"{facts.order.goods or 'none'}, of another sum"}
        yield Finding("order-not-its-lines", said)


def check_answers(facts: SagaFacts) -> Iterator[Finding]:
    """A saga is rolled back when every participant on its list has said that nothing is left with it."""
    given = (facts.order.answers or "").split()
    missing = [name for name in facts.participants if name not in given]
    if facts.status == "ROLLED_BACK" and missing:
        said = {
            "saga": facts.describe_order(),
            "answered": " ".join(given) or "nobody",
            "missing": " ".join(missing),
        }
        yield Finding("answer-missing", said)


def check_cancellation(facts: SagaFacts) -> Iterator[Finding]:
    """Who asked for a cancellation is told what became of it."""
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
    """No saga is open for long past its deadline, whatever it waits for."""
    if facts.overdue:
        late = f"{facts.order.late:,.0f} s ago" if facts.order.late is not None else "unknown"
        yield Finding(
            "overdue", {"saga": facts.describe_order(), "deadline": late, "journal": facts.describe_journal()}
        )


def check_timers(facts: SagaFacts) -> Iterator[Finding]:
    """The transaction that ends a saga deletes its timers."""
    if facts.ended and facts.order.timers:
        yield Finding("timer-left", {"saga": facts.describe_order(), "timers": facts.order.timers})
