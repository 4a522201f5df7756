"""Journals: every effect has its row, every row its effect, and an ended saga leaves none open."""

from __future__ import annotations

from collections.abc import Iterator

from webapp.ops.reconcile.codes import INCOMPLETE, Finding
from webapp.ops.reconcile.rules.orders import CANCEL, CONFIRM, EXPIRE, READ
from webapp.ops.reconcile.saga_facts import Story

RESERVE, SHIP, CHARGE, COMPLETE = (
    "inventory.reserve_stock", "inventory.ship_stock", "payments.charge", "orders.complete_order",
)  # fmt: skip
OPEN = ("retrying", "intent", "undoing", "cornered")
OUTSIDE = ("intent", "cornered")
"""An outside call is under way: whether it has its effect is not known yet."""
STEPS = {
    "orders": (CANCEL, COMPLETE, CONFIRM, EXPIRE),
    "inventory": (RESERVE, SHIP),
    "payments": (CHARGE,),
}  # fmt: skip


def effects(story: Story) -> Iterator[Finding]:
    """Reservations, ledger, confirmation and end, each against its journal row."""
    yield from _stock(story)
    yield from _charge(story)
    done = story.journal.get(CONFIRM) in ("done", "undoing")
    yield from _pair(done, story.confirmed, "order", "confirmed", story.says_journal(CONFIRM))
    complete = story.status == "CONFIRMED" and story.ended
    yield from _pair(
        story.journal.get(COMPLETE) == "done", complete, "saga", "complete", story.says_journal(COMPLETE)
    )


def _pair(journal: bool, effect: bool, what: str, word: str, said: str) -> Iterator[Finding]:
    if journal != effect:
        code = "journal-without-effect" if journal else "effect-without-journal"
        yield Finding(code, {what: word if effect else f"not {word}", "journal": said})


def _stock(story: Story) -> Iterator[Finding]:
    reserve, shipped = story.journal.get(RESERVE, ""), story.journal.get(SHIP) == "done"
    if reserve in OUTSIDE:
        return
    expected = {"done": "held", "undoing": "held", "undone": "released"}.get(reserve)
    if shipped and expected in ("held", None):
        expected = "shipped"
    actual = set(story.states)
    if actual == ({expected} if expected else set()) and not (shipped and reserve != "done"):
        return
    lags = not actual or (expected != "held" and "held" in actual)
    code = "journal-without-effect" if lags else "effect-without-journal"
    yield Finding(code, {"stock": story.says_stock(), "journal": story.says_journal(RESERVE, SHIP)})


def _charge(story: Story) -> Iterator[Finding]:
    charge = story.journal.get(CHARGE, "")
    if charge in OUTSIDE:
        return
    charged, refunded = charge in ("done", "undoing", "undone"), charge == "undone"
    actual = (story.charges > 0, story.refunds > 0)
    if actual != (charged, refunded):
        lags = actual < (charged, refunded)
        code = "journal-without-effect" if lags else "effect-without-journal"
        yield Finding(code, {"ledger": story.says_money(), "journal": story.says_journal(CHARGE)})


def refusals(story: Story) -> Iterator[Finding]:
    """Who refused, and who heard of it."""
    said = {"saga": story.says_orders(), "journal": story.says_journal()}
    refusers = {step.partition(".")[0] for step in story.steps("refused")}
    if story.refused_by in READ and story.refused_by not in refusers:
        yield Finding("refusal-without-refuser", said)
    emitted = story.emitted(story.refused_by)
    if emitted and story.refusal not in emitted:
        yield Finding("refusal-renamed", {"saga": story.says_orders(), "emitted": " ".join(emitted)})
    if story.status == "ROLLED_BACK":
        deaf = [p for p in READ if p in story.participants and story.journal.get(f"{p}.refusal") != "heard"]
        if deaf:
            yield Finding("refusal-not-heard", {**said, "not heard by": " ".join(deaf)})
    refused = story.steps("heard", "refused")
    if story.status == "CONFIRMED" and story.ended and refused:
        yield Finding("refused-though-confirmed", {**said, "refused": " ".join(refused)})


def barred(story: Story) -> Iterator[Finding]:
    """From a participant's first refusal on, each of its steps has a row, so that no late signal runs one."""
    for participant, steps in STEPS.items():
        missing = [step for step in steps if step not in story.journal]
        if missing and story.journal.get(f"{participant}.refusal") == "heard":
            yield Finding(
                "step-not-barred", {"saga": story.says_orders(), "journal": story.says_journal(*missing)}
            )


def loose_ends(story: Story) -> Iterator[Finding]:
    """An ended saga waits for nobody."""
    left = story.steps(*OPEN)
    if story.ended and left:
        yield Finding(
            "journal-left-open", {"saga": story.says_orders(), "journal": story.says_journal(*left)}
        )


BEGINNING = "orders.OrderPlaced"
ENDS = {"CONFIRMED": "orders.complete", "ROLLED_BACK": "orders.rolled back"}
SAYS = {
    "inventory.reserve_stock": "inventory.StockReserved",
    "payments.charge": "payments.PaymentCharged",
    "orders.confirm_order": "orders.OrderConfirmed",
    "inventory.ship_stock": "inventory.StockShipped",
}
UNDO_SAYS = {
    "inventory.reserve_stock": "inventory.StockReleased",
    "payments.charge": "payments.PaymentRefunded",
}


def trail(story: Story) -> Iterator[Finding]:
    """What should have been heard, by the journals, and was not."""
    if not story.ended:
        return
    heard = set((story.order.heard or "").split("|"))
    missing = [name for name in dict.fromkeys(_expected(story)) if name not in heard]
    if missing:
        told = ", ".join(sorted(heard - {""})) or "nothing"
        yield Finding(INCOMPLETE, {"missing": ", ".join(missing), "heard": told})


def _expected(story: Story) -> Iterator[str]:
    """Participant and name of each signal and notice; of a refusal, whichever it was, participant
    and ``!``.
    """
    yield BEGINNING
    if story.refused_by:
        yield f"{story.refused_by}!"
    for participant in (story.order.answers or "").split():
        if participant in READ:  # what another one's outbox still owes is not known here
            yield f"{participant}.answer"
    for step, state in sorted(story.journal.items()):
        participant = step.partition(".")[0]
        if state in ("done", "undoing", "undone") and step in SAYS:
            yield SAYS[step]
        if state == "undone":
            yield f"{participant}.undone"
            if step in UNDO_SAYS:
                yield UNDO_SAYS[step]
        if state == "barred":
            yield f"{participant}.barred"
        if state == "refused":
            yield f"{participant}!"
    yield ENDS[story.status]
