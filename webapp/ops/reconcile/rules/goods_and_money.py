"""Goods: held for open orders only, shipped exactly when confirmed, and exactly what was ordered."""

from __future__ import annotations

from collections.abc import Iterator

from webapp.ops.reconcile.codes import Finding
from webapp.ops.reconcile.saga_facts import SagaFacts, is_same_goods


def check_goods(facts: SagaFacts) -> Iterator[Finding]:
    """Check reservations and movements against the order and its outcome."""
    states = set(facts.states)
    both = {"orders": f"{facts.describe_order()}, {facts.order.goods}", "inventory": facts.describe_stock()}
    if facts.ended and "held" in states:
        yield Finding("held-after-end", both)
    if facts.status == "CONFIRMED" and (not states or (facts.ended and "released" in states)):
        yield Finding("confirmed-not-shipped", both)
    if facts.status == "ROLLED_BACK" and "shipped" in states:
        yield Finding("shipped-not-confirmed", both)
    if states and not is_same_goods(facts.stock.goods, facts.order.goods):
        yield Finding("goods-not-as-ordered", both)
    if facts.stock.disagree:
        said = {"reservations": facts.describe_stock(), "movements": facts.stock.movements or "none"}
        yield Finding("movements-disagree", said)
    if facts.stock.number is not None and facts.stock.number != facts.order.number:
        said = {"orders": f"order {facts.order.number}", "inventory": f"order {facts.stock.number}"}
        yield Finding("reservation-names-other-order", said)


def check_money(facts: SagaFacts) -> Iterator[Finding]:
    """Check charges and refunds: one charge if confirmed, otherwise net zero; and their amount and wallet."""
    charges, refunds = facts.charges, facts.refunds
    both = {
        "orders": f"{facts.describe_order()}, {facts.order.bill or 'free of charge'}",
        "ledger": facts.describe_money(),
    }
    if charges > 1 or refunds > 1:
        yield Finding("charged-twice", both)
    if refunds > charges:
        yield Finding("refund-without-charge", both)
    if facts.status == "CONFIRMED" and not charges:
        yield Finding("confirmed-not-charged", both)
    if facts.status == "CONFIRMED" and facts.ended and refunds:
        yield Finding("confirmed-and-refunded", both)
    if facts.status == "ROLLED_BACK" and charges > refunds:
        yield Finding("charged-not-confirmed", both)
    if charges == 1 and facts.money.charge != facts.order.bill:
        yield Finding("charge-not-as-ordered", both)
    if charges == refunds == 1 and facts.money.refund != facts.money.charge:
        yield Finding("refund-not-as-charged", both)
    if facts.money.number is not None and facts.money.number != facts.order.number:
        said = {"orders": f"order {facts.order.number}", "ledger": f"order {facts.money.number}"}
        yield Finding("ledger-names-other-order", said)
