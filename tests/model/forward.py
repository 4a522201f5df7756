"""The model's forward steps: docs/PROTOCOL.md, rules 1 to 4, and rule 9 for late signals."""

from __future__ import annotations

from collections.abc import Callable

from tests.model.backward import answer, apply_refusal, settled
from tests.model.state import (
    AGAIN,
    BARRED,
    DONE,
    INTENT,
    LATE,
    LIVE,
    REFUSED,
    REFUSED_BY,
    RETRYING,
    STEPS,
    UNDONE,
    VOID,
    Flaws,
    New,
    Outcomes,
    Scenario,
    Transaction,
)


def run_step(new: New, step: str, again: bool, flaws: Flaws, scenario: Scenario) -> Outcomes:
    """Yield every possible transaction of a step that receives its signal or a retry."""
    tx, spec = new(), STEPS[step]
    if scenario.pauses:
        yield "paused", _requeue_paused(new(), step, again, flaws)
    row = tx.rows[step]
    runnable = row in LIVE
    runnable |= row == DONE and "no journal" in flaws and step != "ship_stock"
    runnable |= row == UNDONE and "undone runs again" in flaws
    runnable |= row == BARRED and "barred ignored" in flaws
    if not runnable:
        owed = (spec.emits, spec.consumed_by, True) in tx.messages
        _handle_late(tx, step, again and not (scenario.impatient and owed), flaws)
        yield f"nothing, as it is {row}", tx
        return
    if "outbox before commit" in flaws and spec.emits:
        tx.emit(spec.emits, spec.consumed_by)
        yield "emitted, then rolled back", tx
    if scenario.errors:
        yield from _fail(new, step, again, flaws)
    if step == "charge" and scenario.external:
        tx = new()
        tx.rows[step] = INTENT
        tx.enqueue("call", "payments")  # owed until the outcome is known
        tx.enqueue("provider call", "provider", owed=False)  # a worker may resume the call at any time
        yield "intent and key committed", tx
        return
    outcomes = ("done", "refuses") if step in ("reserve_stock", "charge") else ("done",)
    for outcome in outcomes:
        if step == "reserve_stock" and scenario.sagas > 1:  # the stock decides, not the scenario
            enough = new().available >= 1 or "reserve unguarded" in flaws
            if enough != (outcome == "done"):
                continue
        yield from _run(new, step, outcome, flaws)


def _run(new: New, step: str, outcome: str, flaws: Flaws) -> Outcomes:
    tx, spec = new(), STEPS[step]
    if outcome == "refuses":
        tx.rows[step] = REFUSED
        tx.emit(spec.refusal)
    elif EFFECTS[step](tx, flaws):
        tx.rows[step] = DONE
        tx.emit(spec.emits, spec.consumed_by)
    yield outcome, tx
    if (
        "outbox after commit" in flaws and tx.rows[step] == DONE
    ):  # committed, crashed before the signal was recorded
        tx = new()
        EFFECTS[step](tx, flaws)
        tx.rows[step] = DONE
        yield "done, signal lost", tx


def _fail(new: New, step: str, again: bool, flaws: Flaws) -> Outcomes:
    """Yield the transactions of a step that raises: it is retried, or given up."""
    tx, spec = new(), STEPS[step]
    if "attempts keep no row" not in flaws:
        tx.rows[step] = RETRYING
    tx.enqueue(f"retry {step}{AGAIN * again}", spec.owner)
    yield "raises", tx
    if spec.gives_up or ("deciding steps give up" in flaws and step == "expire_order"):
        tx = new()
        if "StepFailed without a row" not in flaws:
            tx.rows[step] = REFUSED
        tx.emit(f"StepFailed({step})!")
        yield "gives up", tx


def _requeue_paused(tx: Transaction, step: str, again: bool, flaws: Flaws) -> Transaction:
    """Return the signal of a paused step to the participant's own queue, whatever the journal row."""
    if "a pause writes a row" in flaws and tx.rows[step] in LIVE:
        tx.rows[step] = REFUSED
    if "a pause drops the signal" not in flaws:
        tx.enqueue(f"retry {step}{AGAIN * again}", STEPS[step].owner)
    return tx


def _handle_late(tx: Transaction, step: str, again: bool, flaws: Flaws) -> None:
    """Handle a late or repeated signal: no effect; re-send what another participant may wait for (rule 9)."""
    row, spec = tx.rows[step], STEPS[step]
    if row == DONE and again and "done is not re-sent" not in flaws and spec.emits:
        tx.emit(spec.emits, spec.consumed_by, again=True)
    if row == BARRED and "barred emits success" in flaws and spec.emits:
        tx.emit(spec.emits, spec.consumed_by)
    if row in LATE and "late signals get no answer" not in flaws:
        for refusal in sorted(r for r in tx.emitted if REFUSED_BY.get(r) == spec.owner):
            tx.emit(refusal, again=True)
        if spec.owner in tx.heard and settled(tx, spec.owner):
            answer(tx, spec.owner, flaws)


def _reserve(tx: Transaction, flaws: Flaws) -> bool:
    tx.available -= 1
    tx.held += 1
    return True


def _charge(tx: Transaction, flaws: Flaws) -> bool:
    tx.charged += 1
    return True


def _ship(tx: Transaction, flaws: Flaws) -> bool:
    tx.held -= 1
    tx.sold += 1
    return True


def _complete(tx: Transaction, flaws: Flaws) -> bool:
    return True


def _confirm(tx: Transaction, flaws: Flaws) -> bool:
    """Compare and set: PENDING → CONFIRMED."""
    allowed = {"PENDING"}
    if "confirm without compare-and-set" in flaws:
        allowed |= {"CONFIRMED", "ROLLING_BACK", "ROLLED_BACK"}
    if "confirm in ROLLING_BACK" in flaws:
        allowed |= {"ROLLING_BACK"}
    if tx.status not in allowed:
        tx.rows["confirm_order"] = VOID
        return False
    tx.leave_pending("CONFIRMED")
    return True


def _refuse(step: str, flaw: str) -> Callable[[Transaction, Flaws], bool]:
    def refuse(tx: Transaction, flaws: Flaws) -> bool:
        """Compare and set: PENDING → ROLLING_BACK; emit the refusal only on success."""
        refusal = STEPS[step].refusal
        if tx.status == "PENDING" or (tx.status == "CONFIRMED" and flaw in flaws):
            tx.leave_pending("ROLLING_BACK", refusal)
            tx.rows[step] = REFUSED
            tx.emit(refusal)
            if "orders undoes at once" in flaws:
                apply_refusal(tx, "orders", refusal, flaws)
        else:
            tx.rows[step] = VOID
            if "loser emits its refusal" in flaws:
                tx.emit(refusal)
        return False

    return refuse


EFFECTS: dict[str, Callable[[Transaction, Flaws], bool]] = {
    "reserve_stock": _reserve,
    "charge": _charge,
    "ship_stock": _ship,
    "complete_order": _complete,
    "confirm_order": _confirm,
    "expire_order": _refuse("expire_order", "expire without compare-and-set"),
    "cancel": _refuse("cancel", "cancel turns CONFIRMED"),
}
