"""The rules that the facts about one saga must satisfy.

A rule may branch only on the shape of the facts, see :func:`webapp.ops.reconcile.saga_facts.shape_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from webapp.ops.reconcile.codes import Finding
from webapp.ops.reconcile.rules.goods_and_money import check_goods, check_money
from webapp.ops.reconcile.rules.journals import (
    check_bars,
    check_effects,
    check_open_rows,
    check_refusals,
    check_trail,
)
from webapp.ops.reconcile.rules.orders import (
    check_amount,
    check_answers,
    check_cancellation,
    check_deadline,
    check_orphans,
    check_participants,
    check_status,
    check_timers,
)
from webapp.ops.reconcile.saga_facts import SagaFacts

Rule = Callable[[SagaFacts], Iterator[Finding]]

SAGA_NAME = "order"
"""The kind of saga that is checked."""

ORDER_RULES: tuple[Rule, ...] = (
    check_status,
    check_participants,
    check_money,
    check_goods,
    check_effects,
    check_refusals,
    check_bars,
    check_open_rows,
    check_answers,
    check_cancellation,
    check_deadline,
    check_timers,
)

PERMANENT_RULES: tuple[Rule, ...] = (check_amount, check_money, check_goods)
"""Rules that hold even for orders that ended before the horizon, whose journals may have been pruned."""


def find_broken_rules(facts: SagaFacts, *, audited: bool) -> list[Finding]:
    """Return the findings of all rules about one saga.

    :param audited: whether the settings include an audit participant.
    """
    if not facts.status or facts.order.number is None:
        return list(check_orphans(facts)) if facts.name in ("", SAGA_NAME) else []
    if facts.forgotten:
        rules: tuple[Rule, ...] = PERMANENT_RULES
    else:
        rules = (*ORDER_RULES, check_trail) if audited else ORDER_RULES
    return [finding for rule in rules for finding in rule(facts)]
