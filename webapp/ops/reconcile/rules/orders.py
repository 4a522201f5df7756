"""Orders and sagas: each has the other, the status is what was decided, and who waits is answered."""

from __future__ import annotations

from collections.abc import Iterator

from webapp.ops.reconcile.codes import Finding
from webapp.ops.reconcile.saga_facts import Story

CONFIRM, EXPIRE, CANCEL = "orders.confirm_order", "orders.expire_order", "orders.cancel"
READ = ("orders", "inventory", "payments")
"""The participants of every order, whose journals are read; others, wherever they are, are taken at their
word.
"""
WAS_CONFIRMED = ("done", "undoing", "undone")
CANCEL_STATES = {"cancelled": ("refused",), "too_late": ("void", "barred")}
"""What the journal may say of the cancelling step, by what the customer was told. Barred: another refusal
came first.
"""


def strangers(story: Story) -> Iterator[Finding]:
    """Order, saga and everybody else's rows, when one of the first two is missing."""
    order = f"order {story.order.number}" if story.order.number is not None else "no order"
    if story.status:
        yield Finding("saga-without-order", {"saga": story.says_orders(), "orders": order})
        return
    if story.order.number is not None:
        yield Finding("order-without-saga", {"orders": order, "saga": "no row"})
    o, s, m = story.known
    if o is not None and (o.journal or o.answers or o.heard or o.timers):
        left = {"journal": o.journal, "answers": o.answers, "audit trail": o.heard, "timers": o.timers}
        yield Finding(
            "orphan-in-orders", {name: text for name, text in left.items() if text} | {"saga": "no row"}
        )
    if s is not None:
        said = {
            "journal": s.journal or "nothing",
            "stock": story.says_stock(),
            "movements": s.movements or "none",
        }
        yield Finding("orphan-in-inventory", said | {"saga": "no row"})
    if m is not None:
        said = {"journal": m.journal or "nothing", "ledger": story.says_money()}
        yield Finding("orphan-in-payments", said | {"saga": "no row"})


def orders(story: Story) -> Iterator[Finding]:
    """The saga's status is what the deciding steps have decided, and :func:`sums`."""
    state = story.journal.get(CONFIRM, "no row")
    confirmed = {"PENDING": state not in WAS_CONFIRMED, "CONFIRMED": state == "done"}
    agrees = confirmed.get(story.status, True)
    if story.status == "ROLLED_BACK":
        agrees = state not in ("done", "undoing")
    if story.status in ("PENDING", "CONFIRMED"):
        agrees &= "refused" not in (story.journal.get(EXPIRE), story.journal.get(CANCEL))
    if not agrees:
        said = {"status": story.says_orders(), "journal": story.says_journal(CONFIRM, EXPIRE, CANCEL)}
        yield Finding("status-disagrees", said)
    yield from sums(story)


def participants(story: Story) -> Iterator[Finding]:
    """The list that was frozen when the saga began names all that take part in every order."""
    if missing := [name for name in READ if name not in story.participants]:
        yield Finding(
            "participant-not-listed", {"listed": " ".join(story.participants), "missing": " ".join(missing)}
        )


def sums(story: Story) -> Iterator[Finding]:
    """The order is worth its lines."""
    if story.wrong_sum:
        said = {"order": story.order.bill or "0", "lines": f"{story.order.goods or 'none'}, of another sum"}
        yield Finding("order-not-its-lines", said)


def answers(story: Story) -> Iterator[Finding]:
    """A saga is rolled back when every participant on its list has said that nothing is left with it."""
    given = (story.order.answers or "").split()
    missing = [name for name in story.participants if name not in given]
    if story.status == "ROLLED_BACK" and missing:
        said = {
            "saga": story.says_orders(),
            "answered": " ".join(given) or "nobody",
            "missing": " ".join(missing),
        }
        yield Finding("answer-missing", said)


def cancellations(story: Story) -> Iterator[Finding]:
    """Who asked for a cancellation is told what became of it."""
    asked, state = story.cancel, story.journal.get(CANCEL, "no row")
    if not asked:
        return
    if asked == "asked" and story.ended:
        yield Finding(
            "cancel-unanswered", {"saga": story.says_orders(), "journal": story.says_journal(CANCEL)}
        )
    if asked != "asked" and state not in CANCEL_STATES.get(asked, ()):
        yield Finding("cancel-told-wrong", {"told": asked, "journal": story.says_journal(CANCEL)})


def deadlines(story: Story) -> Iterator[Finding]:
    """No saga is open for long past its deadline, whatever it waits for."""
    if story.overdue:
        late = f"{story.order.late:,.0f} s ago" if story.order.late is not None else "unknown"
        yield Finding(
            "overdue", {"saga": story.says_orders(), "deadline": late, "journal": story.says_journal()}
        )


def timers(story: Story) -> Iterator[Finding]:
    """The transaction that ends a saga deletes its timers."""
    if story.ended and story.order.timers:
        yield Finding("timer-left", {"saga": story.says_orders(), "timers": story.order.timers})
