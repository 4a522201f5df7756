"""What must hold for one saga's story. A rule may branch on a story's shape only, see
:func:`..story.shape`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from webapp.ops.reconcile.codes import Finding
from webapp.ops.reconcile.rules.goods_and_money import goods, money
from webapp.ops.reconcile.rules.journals import barred, effects, loose_ends, refusals, trail
from webapp.ops.reconcile.rules.orders import (
    answers,
    cancellations,
    deadlines,
    orders,
    participants,
    strangers,
    sums,
    timers,
)
from webapp.ops.reconcile.saga_facts import Story

Rule = Callable[[Story], Iterator[Finding]]

SAGA_NAME = "order"
"""The kind of saga that is an order; others are none of this auditor's business."""

ORDERS: tuple[Rule, ...] = (
    orders,
    participants,
    money,
    goods,
    effects,
    refusals,
    barred,
    loose_ends,
    answers,
    cancellations,
    deadlines,
    timers,
)

BUSINESS: tuple[Rule, ...] = (sums, money, goods)
"""What holds for ever. Of orders that ended before the horizon, journals, answers and trail may have been
pruned.
"""


def judge(story: Story, *, audited: bool) -> list[Finding]:
    """The rules that a story breaks.

    :param audited: whether somebody keeps an audit trail at all.
    """
    if not story.status or story.order.number is None:
        return list(strangers(story)) if story.name in ("", SAGA_NAME) else []
    if story.forgotten:
        rules: tuple[Rule, ...] = BUSINESS
    else:
        rules = (*ORDERS, trail) if audited else ORDERS
    return [finding for rule in rules for finding in rule(story)]
