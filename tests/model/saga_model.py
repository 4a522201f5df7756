"""The whole model: the possible transitions, the good ends, and the invariants."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from tests.model.backward import count, receive_refusal, undo_again
from tests.model.forward import run_step
from tests.model.provider import provider_receives, resolve_call
from tests.model.state import (
    AGAIN,
    CONSUMED_BY,
    DONE,
    NAMES,
    NONE,
    REFUSED_BY,
    STEPS,
    UNDOING,
    UNDONE,
    Act,
    Flaws,
    ModelState,
    New,
    Outcomes,
    SagaState,
    Scenario,
    Transaction,
)

GOOD_ENDS = {("CONFIRMED", 1, 0, 1), ("ROLLED_BACK", 0, 0, 0)}


def start(scenario: Scenario, flaws: Flaws = frozenset()) -> ModelState:
    """Return the initial state: one unit in stock, and sagas that compete for it."""
    mail = frozenset({("OrderPlaced", "inventory", True)})
    none: frozenset[str] = frozenset()
    deadline = "no deadline" not in flaws
    rows = (NONE,) * len(NAMES)
    first = SagaState(
        "PENDING", "", rows, none, none, 0, 0, "unknown", 0, 0, deadline, mail, frozenset({"OrderPlaced"}), ""
    )
    return 1, (first,) * scenario.sagas


def transitions(state: ModelState, flaws: Flaws, scenario: Scenario) -> Iterator[tuple[Act, ModelState]]:
    """Yield every possible act with the state it leads to."""
    for index, saga in enumerate(state[1]):
        fresh = partial(Transaction, state, index, flaws, scenario)
        for act, tx in _outside(fresh, saga, scenario):
            yield act._replace(saga=index), tx.freeze()
        for signal, to, owed in sorted(saga.messages):
            if scenario.lost and owed and not saga.lost:
                tx = fresh()
                tx.messages -= {(signal, to, True)}
                tx.lost = f"{signal} for {to}"
                yield Act(to, signal, "lost", owed=False, saga=index), tx.freeze()
            if "acknowledged before commit" in flaws and owed:
                yield Act(to, signal, "crash", owed=False, saga=index), _handled(fresh, signal, to).freeze()
            for how, tx in _deliver(partial(_handled, fresh, signal, to), signal, to, flaws, scenario):
                yield Act(to, signal, how, owed, index), tx.freeze()


def _handled(fresh: New, signal: str, to: str) -> Transaction:
    tx = fresh()
    tx.handled(signal, to)
    return tx


def _outside(fresh: New, saga: SagaState, scenario: Scenario) -> Iterator[tuple[Act, Transaction]]:
    """Yield events of the clock and the customer, and the watchdog's once a message was lost."""
    if saga.deadline:
        tx = fresh()
        tx.deadline = False
        tx.enqueue("DeadlinePassed", "orders")
        yield Act("clock", "deadline", "falls due"), tx
    if scenario.cancel and "CancelAsked" not in saga.emitted:
        tx = fresh()
        tx.emit("CancelAsked", "orders")
        yield Act("customer", "cancel", "asks", owed=False), tx
    forward = saga.status in ("PENDING", "CONFIRMED")
    still = not in_flight(saga) or (scenario.impatient and forward and not reminded(saga))
    if saga.lost and still and not ended(saga):
        tx = fresh()
        waits_for = {"PENDING": "OrderPlaced", "CONFIRMED": "OrderConfirmed"}.get(saga.status, saga.refusal)
        if (waits_for, "inventory", True) not in saga.messages:
            tx.emit(waits_for, "inventory", again=True)
        yield Act("clock", "watchdog", "reminds"), tx


def _deliver(new: New, signal: str, to: str, flaws: Flaws, scenario: Scenario) -> Outcomes:
    """Deliver one message."""
    word, again = signal.removesuffix(AGAIN), signal.endswith(AGAIN)
    if word in REFUSED_BY:
        return receive_refusal(new, to, word, again, flaws, undo_fails=scenario.undo_fails)
    if word == "undo":
        return undo_again(new, to, flaws)
    if word == "call":
        return resolve_call(new, flaws)
    if word == "provider call":
        return provider_receives(new)
    if word.startswith("Answer("):
        return _count(new, word[7:-1], flaws)
    step = word.removeprefix("retry ") if word.startswith("retry ") else CONSUMED_BY[word]
    return run_step(new, step, again, flaws, scenario)


def _count(new: New, who: str, flaws: Flaws) -> Outcomes:
    tx = new()
    count(tx, who, flaws)
    yield "counted", tx


# -- properties ------------------------------------------------------------------------------------------


def in_flight(saga: SagaState) -> bool:
    """Return whether a message is still owed, so that the saga moves without help."""
    return any(owed for _, _, owed in saga.messages)


def reminded(saga: SagaState) -> bool:
    """Return whether a reminder or a signal it caused is still owed."""
    return any(owed and signal.endswith(AGAIN) for signal, _, owed in saga.messages)


def owes(saga: SagaState) -> bool:
    return saga.deadline or in_flight(saga)


def outcome(saga: SagaState) -> tuple[str, int, int, int]:
    """Return status, money, stock held and stock sold, which must not change after the end."""
    return saga.status, saga.charged - saga.refunded, saga.held, saga.sold


def ended(saga: SagaState) -> bool:
    complete = saga.status != "CONFIRMED" or saga.row("complete_order") == DONE
    return complete and outcome(saga) in GOOD_ENDS


def wrong(state: ModelState) -> str:
    """Return the first invariant that this state breaks, or ''."""
    available, sagas = state
    if available + sum(s.held + s.sold for s in sagas) != 1:
        return "conservation of stock"
    if available < 0:
        return "oversold: available stock below zero"
    return next(filter(None, map(_wrong_in_one, sagas)), "")


def _wrong_in_one(saga: SagaState) -> str:
    rules = {
        "stock of one saga out of bounds": saga.held < 0 or saga.sold < 0 or saga.held + saga.sold > 1,
        "charged twice": saga.charged > 1,
        "refunded more than charged": saga.refunded > saga.charged,
        "ROLLED_BACK while money is held": saga.status == "ROLLED_BACK" and saga.charged != saga.refunded,
        "ROLLED_BACK while stock is held or sold": saga.status == "ROLLED_BACK"
        and bool(saga.held or saga.sold),
        "shipped, and not CONFIRMED": bool(saga.sold) and saga.status != "CONFIRMED",
        "both shipped and refused": "StockShipped" in saga.emitted and bool(saga.emitted & REFUSED_BY.keys()),
    }
    for step, row in zip(NAMES, saga.rows, strict=True):
        output = STEPS[step].emits in saga.emitted
        rules[f"{STEPS[step].emits} emitted, but {step} is {row}"] = output and row not in (
            DONE,
            UNDOING,
            UNDONE,
        )
    return next((fault for fault, broken in rules.items() if broken), "")


def ended_wrong(state: ModelState) -> str:
    """Return what is wrong with a saga that owes nothing, or ''."""
    for saga in state[1]:
        if owes(saga) or saga.lost:
            continue
        if not ended(saga):
            return "stuck: quiet but " + "/".join(map(str, outcome(saga))) + " (status, money, held, sold)"
        if (saga.status == "ROLLED_BACK") != bool(saga.emitted & REFUSED_BY.keys()):
            return "refusal and status disagree at the end"
    return ""
