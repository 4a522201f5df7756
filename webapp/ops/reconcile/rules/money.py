"""Money: an order is charged once and confirmed, or its ledger is net zero."""

from __future__ import annotations

from collections.abc import Iterator

from webapp.ops.reconcile.codes import Finding
from webapp.ops.reconcile.saga_facts import Story


def money(story: Story) -> Iterator[Finding]:
    """Once and confirmed, or net zero; and the very amount, from the customer's own wallet."""
    charges, refunds = story.charges, story.refunds
    both = {
        "orders": f"{story.says_orders()}, {story.order.bill or 'free of charge'}",
        "ledger": story.says_money(),
    }
    if charges > 1 or refunds > 1:
        yield Finding("charged-twice", both)
    if refunds > charges:
        yield Finding("refund-without-charge", both)
    if story.status == "CONFIRMED" and not charges:
        yield Finding("confirmed-not-charged", both)
    if story.status == "CONFIRMED" and story.ended and refunds:
        yield Finding("confirmed-and-refunded", both)
    if story.status == "ROLLED_BACK" and charges > refunds:
        yield Finding("charged-not-confirmed", both)
    if charges == 1 and story.money.charge != story.order.bill:
        yield Finding("charge-not-as-ordered", both)
    if charges == refunds == 1 and story.money.refund != story.money.charge:
        yield Finding("refund-not-as-charged", both)
    if story.money.number is not None and story.money.number != story.order.number:
        said = {"orders": f"order {story.order.number}", "ledger": f"order {story.money.number}"}
        yield Finding("ledger-names-other-order", said)
