"""The model's payment provider: a charge that is an external call (docs/PROTOCOL.md, rule 10)."""

from __future__ import annotations

from tests.model.backward import answer
from tests.model.state import CORNERED, DONE, INTENT, REFUSED, UNDONE, Flaws, New, Outcomes


def resolve_call(new: New, flaws: Flaws) -> Outcomes:
    """Call the provider with the recorded key until the outcome is definite, and commit it."""
    tx = new()
    row, known = tx.rows["charge"], tx.provider
    if row not in (INTENT, CORNERED):
        yield f"nothing, as it is {row}", tx
        return
    if row == CORNERED and known == "unknown" and "look-up settles an intent" in flaws:
        tx.rows["charge"] = UNDONE
        answer(tx, "payments", flaws)
        yield "look-up finds no charge", tx
        return
    if "new key at each call" in flaws:
        tx.charged += 1
        tx.enqueue("call", "payments")
        yield "charged, but timed out", tx
    for result in ("charged", "declined") if known == "unknown" else (known,):
        tx = new()
        if result == "charged" and (known == "unknown" or "new key at each call" in flaws):
            tx.charged += 1
        tx.provider = result
        if row == CORNERED:  # undo now, answer now
            tx.refunded += result == "charged"
            tx.rows["charge"] = UNDONE if result == "charged" else REFUSED
            answer(tx, "payments", flaws)
        elif result == "charged":
            tx.rows["charge"] = DONE
            tx.emit("PaymentCharged", "orders")
        else:
            tx.rows["charge"] = REFUSED
            tx.emit("PaymentDeclined!")
        yield f"outcome {result}", tx


def provider_receives(new: New) -> Outcomes:
    """The call takes effect and its response is lost: a timeout, a crash, or a suspended worker."""
    if new().provider != "unknown":
        return
    for result in ("charged", "declined"):
        tx = new()
        tx.provider = result
        tx.charged += result == "charged"
        yield f"{result}, answer lost", tx
