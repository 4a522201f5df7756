"""The audit trail of an ended order holds every signal, refusal and answer, and the notices of bars, undos
and its end.
"""

from __future__ import annotations

from collections.abc import Iterator

from webapp.ops.reconcile.codes import INCOMPLETE, Finding
from webapp.ops.reconcile.rules.orders import READ
from webapp.ops.reconcile.saga_facts import Story

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
