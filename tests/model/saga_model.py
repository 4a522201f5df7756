"""The model put together: what may happen next, what is a good end, and what must never be."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.model.backward import count, hear_refusal, undo_again
from tests.model.forward import run_step
from tests.model.provider import provider_receives, resolve_call
from tests.model.state import (
    AGAIN,
    DONE,
    HEARD_AT,
    NAMES,
    NONE,
    REFUSED_BY,
    STEPS,
    UNDOING,
    UNDONE,
    Act,
    Draft,
    Flaws,
    New,
    Outcomes,
    Saga,
    Scenario,
    World,
)

GOOD_ENDS = {("CONFIRMED", 1, 0, 1), ("ROLLED_BACK", 0, 0, 0)}


def start(scenario: Scenario, flaws: Flaws = frozenset()) -> World:
    """One unit in stock, and sagas that all want it."""
    mail = frozenset({("OrderPlaced", "inventory", True)})
    none: frozenset[str] = frozenset()
    deadline = "no deadline" not in flaws
    rows = (NONE,) * len(NAMES)
    first = Saga(
        "PENDING", "", rows, none, none, 0, 0, "unknown", 0, 0, deadline, mail, frozenset({"OrderPlaced"}), ""
    )
    return 1, (first,) * scenario.sagas


def transitions(world: World, flaws: Flaws, scenario: Scenario) -> Iterator[tuple[Act, World]]:
    """Every act that is possible now, and where it leads."""
    for index, saga in enumerate(world[1]):
        fresh = partial(Draft, world, index, flaws, scenario)
        for act, draft in _outside(fresh, saga, scenario):
            yield act._replace(saga=index), draft.freeze()
        for signal, to, owed in sorted(saga.mail):
            if scenario.lost and owed and not saga.lost:
                draft = fresh()
                draft.mail -= {(signal, to, True)}
                draft.lost = f"{signal} for {to}"
                yield Act(to, signal, "lost", owed=False, saga=index), draft.freeze()
            if "acknowledged before commit" in flaws and owed:
                yield Act(to, signal, "crash", owed=False, saga=index), _handled(fresh, signal, to).freeze()
            for how, draft in _hear(partial(_handled, fresh, signal, to), signal, to, flaws, scenario):
                yield Act(to, signal, how, owed, index), draft.freeze()


def _handled(fresh: New, signal: str, to: str) -> Draft:
    draft = fresh()
    draft.handled(signal, to)
    return draft


def _outside(fresh: New, saga: Saga, scenario: Scenario) -> Iterator[tuple[Act, Draft]]:
    """The clock, the customer, and the watchdog when something was lost."""
    if saga.deadline:
        draft = fresh()
        draft.deadline = False
        draft.post("DeadlinePassed", "orders")
        yield Act("clock", "deadline", "falls due"), draft
    if scenario.cancel and "CancelAsked" not in saga.said:
        draft = fresh()
        draft.say("CancelAsked", "orders")
        yield Act("customer", "cancel", "asks", owed=False), draft
    forward = saga.status in ("PENDING", "CONFIRMED")
    still = not travelling(saga) or (scenario.impatient and forward and not reminded(saga))
    if saga.lost and still and not ended(saga):
        draft = fresh()
        waits_for = {"PENDING": "OrderPlaced", "CONFIRMED": "OrderConfirmed"}.get(saga.status, saga.turned_by)
        if (waits_for, "inventory", True) not in saga.mail:
            draft.say(waits_for, "inventory", again=True)
        yield Act("clock", "watchdog", "reminds"), draft


def _hear(new: New, signal: str, to: str, flaws: Flaws, scenario: Scenario) -> Outcomes:
    """One piece of mail reaches its recipient."""
    word, again = signal.removesuffix(AGAIN), signal.endswith(AGAIN)
    if word in REFUSED_BY:
        return hear_refusal(new, to, word, again, flaws, undo_fails=scenario.undo_fails)
    if word == "undo":
        return undo_again(new, to, flaws)
    if word == "call":
        return resolve_call(new, flaws)
    if word == "provider call":
        return provider_receives(new)
    if word.startswith("Answer("):
        return _count(new, word[7:-1], flaws)
    step = word.removeprefix("retry ") if word.startswith("retry ") else HEARD_AT[word]
    return run_step(new, step, again, flaws, scenario)


def _count(new: New, who: str, flaws: Flaws) -> Outcomes:
    draft = new()
    count(draft, who, flaws)
    yield "counted", draft


# -------------------------------------------------------------------------------------------------------
# properties


def travelling(saga: Saga) -> bool:
    """Whether somebody has yet to hear something, so that the saga moves by itself."""
    return any(owed for _, _, owed in saga.mail)


def reminded(saga: Saga) -> bool:
    """Whether a reminder, or what it has led to, is still on its way."""
    return any(owed and signal.endswith(AGAIN) for signal, _, owed in saga.mail)


def owes(saga: Saga) -> bool:
    return saga.deadline or travelling(saga)


def books(saga: Saga) -> tuple[str, int, int, int]:
    """Status, money, stock held and sold: what may not change after the end."""
    return saga.status, saga.charged - saga.refunded, saga.held, saga.sold


def ended(saga: Saga) -> bool:
    complete = saga.status != "CONFIRMED" or saga.row("complete_order") == DONE
    return complete and books(saga) in GOOD_ENDS


def wrong(world: World) -> str:
    """The first property that this state breaks, or nothing."""
    available, sagas = world
    if available + sum(s.held + s.sold for s in sagas) != 1:
        return "conservation of stock"
    if available < 0:
        return "oversold: available stock below zero"
    return next(filter(None, map(_wrong_in_one, sagas)), "")


def _wrong_in_one(saga: Saga) -> str:
    rules = {
        "stock of one saga out of bounds": saga.held < 0 or saga.sold < 0 or saga.held + saga.sold > 1,
        "charged twice": saga.charged > 1,
        "refunded more than charged": saga.refunded > saga.charged,
        "ROLLED_BACK while money is held": saga.status == "ROLLED_BACK" and saga.charged != saga.refunded,
        "ROLLED_BACK while stock is held or sold": saga.status == "ROLLED_BACK"
        and bool(saga.held or saga.sold),
        "shipped, and not CONFIRMED": bool(saga.sold) and saga.status != "CONFIRMED",
        "both shipped and refused": "StockShipped" in saga.said and bool(saga.said & REFUSED_BY.keys()),
    }
    for step, row in zip(NAMES, saga.rows, strict=True):
        said = STEPS[step].says in saga.said
        rules[f"{STEPS[step].says} said, but {step} is {row}"] = said and row not in (DONE, UNDOING, UNDONE)
    return next((fault for fault, broken in rules.items() if broken), "")


def ended_wrong(world: World) -> str:
    """What is wrong with the sagas that owe nothing any more."""
    for saga in world[1]:
        if owes(saga) or saga.lost:
            continue
        if not ended(saga):
            return "stuck: quiet but " + "/".join(map(str, books(saga))) + " (status, money, held, sold)"
        if (saga.status == "ROLLED_BACK") != bool(saga.said & REFUSED_BY.keys()):
            return "refusal and status disagree at the end"
    return ""
