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
