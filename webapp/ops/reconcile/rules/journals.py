"""Rules of journals and audit trail: effects match journal rows, and ended sagas leave none open."""

from __future__ import annotations

from collections.abc import Iterator

from webapp.ops.reconcile.codes import INCOMPLETE, Finding
from webapp.ops.reconcile.rules.orders import CANCEL, CONFIRM, EXPIRE, PARTICIPANTS
from webapp.ops.reconcile.saga_facts import SagaFacts

RESERVE, SHIP, CHARGE, COMPLETE = (
    "inventory.reserve_stock", "inventory.ship_stock", "payments.charge", "orders.complete_order",
)  # fmt: skip
OPEN = ("retrying", "intent", "undoing", "cornered")
CALLING = ("intent", "cornered")
"""A call to an external service is in progress, so its effect is not known yet."""
STEPS = {
    "orders": (CANCEL, COMPLETE, CONFIRM, EXPIRE),
    "inventory": (RESERVE, SHIP),
    "payments": (CHARGE,),
}  # fmt: skip


def check_effects(facts: SagaFacts) -> Iterator[Finding]:
    """Check reservations, ledger, confirmation and end against their journal rows."""
    yield from _check_stock(facts)
    yield from _check_charge(facts)
    done = facts.journal.get(CONFIRM) in ("done", "undoing")
    yield from _compare(done, facts.confirmed, "order", "confirmed", facts.describe_journal(CONFIRM))
    complete = facts.status == "CONFIRMED" and facts.ended
    yield from _compare(
        facts.journal.get(COMPLETE) == "done", complete, "saga", "complete", facts.describe_journal(COMPLETE)
    )


def _compare(journal: bool, effect: bool, what: str, word: str, said: str) -> Iterator[Finding]:
    if journal != effect:
        code = "journal-without-effect" if journal else "effect-without-journal"
        yield Finding(code, {what: word if effect else f"not {word}", "journal": said})


def _check_stock(facts: SagaFacts) -> Iterator[Finding]:
    reserve, shipped = facts.journal.get(RESERVE, ""), facts.journal.get(SHIP) == "done"
    if reserve in CALLING:
        return
    expected = {"done": "held", "undoing": "held", "undone": "released"}.get(reserve)
    if shipped and expected in ("held", None):
        expected = "shipped"
    actual = set(facts.states)
    if actual == ({expected} if expected else set()) and not (shipped and reserve != "done"):
        return
    lags = not actual or (expected != "held" and "held" in actual)
    code = "journal-without-effect" if lags else "effect-without-journal"
    yield Finding(code, {"stock": facts.describe_stock(), "journal": facts.describe_journal(RESERVE, SHIP)})


def _check_charge(facts: SagaFacts) -> Iterator[Finding]:
    charge = facts.journal.get(CHARGE, "")
    if charge in CALLING:
        return
    charged, refunded = charge in ("done", "undoing", "undone"), charge == "undone"
    actual = (facts.charges > 0, facts.refunds > 0)
    if actual != (charged, refunded):
        lags = actual < (charged, refunded)
        code = "journal-without-effect" if lags else "effect-without-journal"
        yield Finding(code, {"ledger": facts.describe_money(), "journal": facts.describe_journal(CHARGE)})


def check_refusals(facts: SagaFacts) -> Iterator[Finding]:
    """Check that the refusal has a refused step, and that every participant has received it."""
    said = {"saga": facts.describe_order(), "journal": facts.describe_journal()}
    refusers = {step.partition(".")[0] for step in facts.steps("refused")}
    if facts.refused_by in PARTICIPANTS and facts.refused_by not in refusers:
        yield Finding("refusal-without-refuser", said)
    emitted = facts.emitted(facts.refused_by)
    if emitted and facts.refusal not in emitted:
        yield Finding("refusal-renamed", {"saga": facts.describe_order(), "emitted": " ".join(emitted)})
    if facts.status == "ROLLED_BACK":
        deaf = [
            p
            for p in PARTICIPANTS
            if p in facts.participants and facts.journal.get(f"{p}.refusal") != "heard"
        ]
        if deaf:
            yield Finding("refusal-not-heard", {**said, "not heard by": " ".join(deaf)})
    refused = facts.steps("heard", "refused")
    if facts.status == "CONFIRMED" and facts.ended and refused:
        yield Finding("refused-though-confirmed", {**said, "refused": " ".join(refused)})


def check_bars(facts: SagaFacts) -> Iterator[Finding]:
    """Check that every step has a row once its participant has received a refusal, so that it cannot run."""
    for participant, steps in STEPS.items():
        missing = [step for step in steps if step not in facts.journal]
        if missing and facts.journal.get(f"{participant}.refusal") == "heard":
            yield Finding(
                "step-not-barred",
                {"saga": facts.describe_order(), "journal": facts.describe_journal(*missing)},
            )


def check_open_rows(facts: SagaFacts) -> Iterator[Finding]:
    """Check that an ended saga has no unfinished journal rows."""
    left = facts.steps(*OPEN)
    if facts.ended and left:
        yield Finding(
            "journal-left-open", {"saga": facts.describe_order(), "journal": facts.describe_journal(*left)}
        )


FIRST_SIGNAL = "orders.OrderPlaced"
END_NOTICES = {"CONFIRMED": "orders.complete", "ROLLED_BACK": "orders.rolled back"}
EMITTED_BY = {
    "inventory.reserve_stock": "inventory.StockReserved",
    "payments.charge": "payments.PaymentCharged",
    "orders.confirm_order": "orders.OrderConfirmed",
    "inventory.ship_stock": "inventory.StockShipped",
}
EMITTED_BY_UNDO = {
    "inventory.reserve_stock": "inventory.StockReleased",
    "payments.charge": "payments.PaymentRefunded",
}


def check_trail(facts: SagaFacts) -> Iterator[Finding]:
    """Check that the audit trail of an ended saga contains the events that the journals imply."""
    if not facts.ended:
        return
    heard = set((facts.order.heard or "").split("|"))
    missing = [name for name in dict.fromkeys(_expected_events(facts)) if name not in heard]
    if missing:
        told = ", ".join(sorted(heard - {""})) or "nothing"
        yield Finding(INCOMPLETE, {"missing": ", ".join(missing), "heard": told})


def _expected_events(facts: SagaFacts) -> Iterator[str]:
    """Yield participant and name of each signal and notice; for any refusal the participant and ``!``."""
    yield FIRST_SIGNAL
    if facts.refused_by:
        yield f"{facts.refused_by}!"
    for participant in (facts.order.answers or "").split():
        if participant in PARTICIPANTS:  # the outboxes of others are not read
            yield f"{participant}.answer"
    for step, state in sorted(facts.journal.items()):
        participant = step.partition(".")[0]
        if state in ("done", "undoing", "undone") and step in EMITTED_BY:
            yield EMITTED_BY[step]
        if state == "undone":
            yield f"{participant}.undone"
            if step in EMITTED_BY_UNDO:
                yield EMITTED_BY_UNDO[step]
        if state == "barred":
            yield f"{participant}.barred"
        if state == "refused":
            yield f"{participant}!"
    yield END_NOTICES[facts.status]
