"""Goods: held for open orders only, shipped exactly when confirmed, and exactly what was ordered."""

from __future__ import annotations

from collections.abc import Iterator

from webapp.ops.reconcile.codes import Finding
from webapp.ops.reconcile.saga_facts import Story, same_goods


def goods(story: Story) -> Iterator[Finding]:
    """What the reservations and movements of a saga must be, given what became of its order."""
    states = set(story.states)
    both = {"orders": f"{story.says_orders()}, {story.order.goods}", "inventory": story.says_stock()}
    if story.ended and "held" in states:
        yield Finding("held-after-end", both)
    if story.status == "CONFIRMED" and (not states or (story.ended and "released" in states)):
        yield Finding("confirmed-not-shipped", both)
    if story.status == "ROLLED_BACK" and "shipped" in states:
        yield Finding("shipped-not-confirmed", both)
    if states and not same_goods(story.stock.goods, story.order.goods):
        yield Finding("goods-not-as-ordered", both)
    if story.stock.disagree:
        said = {"reservations": story.says_stock(), "movements": story.stock.movements or "none"}
        yield Finding("movements-disagree", said)
    if story.stock.number is not None and story.stock.number != story.order.number:
        said = {"orders": f"order {story.order.number}", "inventory": f"order {story.stock.number}"}
        yield Finding("reservation-names-other-order", said)


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
