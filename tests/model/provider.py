"""The model's payment provider: a charge that is a call to the outside (docs/PROTOCOL.md, rule 10)."""

from __future__ import annotations

from tests.model.backward import answer
from tests.model.state import CORNERED, DONE, INTENT, REFUSED, UNDONE, Flaws, New, Outcomes


def resolve_call(new: New, flaws: Flaws) -> Outcomes:
    """Call the provider with the recorded key until it gives a definite answer; then commit the outcome."""
    draft = new()
    row, known = draft.rows["charge"], draft.provider
    if row not in (INTENT, CORNERED):
        yield f"nothing, as it is {row}", draft
        return
    if row == CORNERED and known == "unknown" and "look-up settles an intent" in flaws:
        draft.rows["charge"] = UNDONE
        answer(draft, "payments", flaws)
        yield "look-up finds no charge", draft
        return
    if "new key at each call" in flaws:
        draft.charged += 1
        draft.post("call", "payments")
        yield "charged, but timed out", draft
    for result in ("charged", "declined") if known == "unknown" else (known,):
        draft = new()
        if result == "charged" and (known == "unknown" or "new key at each call" in flaws):
            draft.charged += 1
        draft.provider = result
        if row == CORNERED:  # undo now, answer now
            draft.refunded += result == "charged"
            draft.rows["charge"] = UNDONE if result == "charged" else REFUSED
            answer(draft, "payments", flaws)
        elif result == "charged":
            draft.rows["charge"] = DONE
            draft.say("PaymentCharged", "orders")
        else:
            draft.rows["charge"] = REFUSED
            draft.say("PaymentDeclined!")
        yield f"outcome {result}", draft


def provider_receives(new: New) -> Outcomes:
    """The call takes effect and its answer is lost: a timeout, a crash, or a worker that slept
    for an hour.
    """
    if new().provider != "unknown":
        return
    for result in ("charged", "declined"):
        draft = new()
        draft.provider = result
        draft.charged += result == "charged"
        yield f"{result}, answer lost", draft
