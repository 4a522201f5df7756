"""The model's forward steps: docs/PROTOCOL.md, rules 1 to 4, and rule 9 for what comes late."""

from __future__ import annotations

from collections.abc import Callable

from tests.model.backward import answer, hear_refusal_at, settled
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
    Draft,
    Flaws,
    New,
    Outcomes,
    Scenario,
)


def run_step(new: New, step: str, again: bool, flaws: Flaws, scenario: Scenario) -> Outcomes:
    """A forward signal (or its retry) reaches its step: every transaction that may come of it."""
    draft, spec = new(), STEPS[step]
    if scenario.pauses:
        yield "paused", _put_away(new(), step, again, flaws)
    row = draft.rows[step]
    runnable = row in LIVE
    runnable |= row == DONE and "no journal" in flaws and step != "ship_stock"
    runnable |= row == UNDONE and "undone runs again" in flaws
    runnable |= row == BARRED and "barred ignored" in flaws
    if not runnable:
        owed = (spec.says, spec.heard_by, True) in draft.mail
        _come_late(draft, step, again and not (scenario.impatient and owed), flaws)
        yield f"nothing, as it is {row}", draft
        return
    if "outbox before commit" in flaws and spec.says:
        draft.say(spec.says, spec.heard_by)
        yield "said, then rolled back", draft
    if scenario.errors:
        yield from _fail(new, step, again, flaws)
    if step == "charge" and scenario.external:
        draft = new()
        draft.rows[step] = INTENT
        draft.post("call", "payments")  # owed until the outcome is known
        draft.post(
            "provider call", "provider", owed=False
        )  # a worker may hold the call, and wake up whenever
        yield "intent and key committed", draft
        return
    outcomes = ("done", "refuses") if step in ("reserve_stock", "charge") else ("done",)
    for outcome in outcomes:
        if step == "reserve_stock" and scenario.sagas > 1:  # real competition decides
            enough = new().available >= 1 or "reserve unguarded" in flaws
            if enough != (outcome == "done"):
                continue
        yield from _carry_out(new, step, outcome, flaws)


def _carry_out(new: New, step: str, outcome: str, flaws: Flaws) -> Outcomes:
    draft, spec = new(), STEPS[step]
    if outcome == "refuses":
        draft.rows[step] = REFUSED
        draft.say(spec.refusal)
    elif EFFECTS[step](draft, flaws):
        draft.rows[step] = DONE
        draft.say(spec.says, spec.heard_by)
    yield outcome, draft
    if (
        "outbox after commit" in flaws and draft.rows[step] == DONE
    ):  # committed, crashed before the signal was recorded
        draft = new()
        EFFECTS[step](draft, flaws)
        draft.rows[step] = DONE
        yield "done, signal lost", draft


def _fail(new: New, step: str, again: bool, flaws: Flaws) -> Outcomes:
    """The step raises: it is tried again, or given up."""
    draft, spec = new(), STEPS[step]
    if "attempts keep no row" not in flaws:
        draft.rows[step] = RETRYING
    draft.post(f"retry {step}{AGAIN * again}", spec.owner)
    yield "raises", draft
    if spec.gives_up or ("deciding steps give up" in flaws and step == "expire_order"):
        draft = new()
        if "StepFailed without row" not in flaws:
            draft.rows[step] = REFUSED
        draft.say(f"StepFailed({step})!")
        yield "gives up", draft


def _put_away(draft: Draft, step: str, again: bool, flaws: Flaws) -> Draft:
    """The step is paused in the process that receives the signal: keep it for later, whatever the journal
    says.
    """
    if "a pause writes a row" in flaws and draft.rows[step] in LIVE:
        draft.rows[step] = REFUSED
    if "a pause drops the signal" not in flaws:
        draft.post(f"retry {step}{AGAIN * again}", STEPS[step].owner)
    return draft


def _come_late(draft: Draft, step: str, again: bool, flaws: Flaws) -> None:
    """No effect; what was said is said again where somebody may wait for it (rule 9)."""
    row, spec = draft.rows[step], STEPS[step]
    if row == DONE and again and "done keeps silent" not in flaws and spec.says:
        draft.say(spec.says, spec.heard_by, again=True)
    if row == BARRED and "barred says done" in flaws and spec.says:
        draft.say(spec.says, spec.heard_by)
    if row in LATE and "late keeps silent" not in flaws:
        for refusal in sorted(r for r in draft.said if REFUSED_BY.get(r) == spec.owner):
            draft.say(refusal, again=True)
        if spec.owner in draft.heard and settled(draft, spec.owner):
            answer(draft, spec.owner, flaws)


def _reserve(draft: Draft, flaws: Flaws) -> bool:
    draft.available -= 1
    draft.held += 1
    return True


def _charge(draft: Draft, flaws: Flaws) -> bool:
    draft.charged += 1
    return True


def _ship(draft: Draft, flaws: Flaws) -> bool:
    draft.held -= 1
    draft.sold += 1
    return True


def _complete(draft: Draft, flaws: Flaws) -> bool:
    return True


def _confirm(draft: Draft, flaws: Flaws) -> bool:
    """By compare-and-set: PENDING → CONFIRMED."""
    allowed = {"PENDING"}
    if "confirm without compare-and-set" in flaws:
        allowed |= {"CONFIRMED", "ROLLING_BACK", "ROLLED_BACK"}
    if "confirm in ROLLING_BACK" in flaws:
        allowed |= {"ROLLING_BACK"}
    if draft.status not in allowed:
        draft.rows["confirm_order"] = VOID
        return False
    draft.leave_pending("CONFIRMED")
    return True


def _turn_round(step: str, flaw: str) -> Callable[[Draft, Flaws], bool]:
    def turn(draft: Draft, flaws: Flaws) -> bool:
        """By compare-and-set: PENDING → ROLLING_BACK; only who wins refuses."""
        refusal = STEPS[step].refusal
        if draft.status == "PENDING" or (draft.status == "CONFIRMED" and flaw in flaws):
            draft.leave_pending("ROLLING_BACK", refusal)
            draft.rows[step] = REFUSED
            draft.say(refusal)
            if "orders undoes at once" in flaws:
                hear_refusal_at(draft, "orders", refusal, flaws)
        else:
            draft.rows[step] = VOID
            if "loser speaks" in flaws:
                draft.say(refusal)
        return False

    return turn


EFFECTS: dict[str, Callable[[Draft, Flaws], bool]] = {
    "reserve_stock": _reserve,
    "charge": _charge,
    "ship_stock": _ship,
    "complete_order": _complete,
    "confirm_order": _confirm,
    "expire_order": _turn_round("expire_order", "expire without compare-and-set"),
    "cancel": _turn_round("cancel", "cancel turns CONFIRMED"),
}
