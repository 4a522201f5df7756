"""The model's roll-back: docs/PROTOCOL.md, rules 5 to 8."""

from __future__ import annotations

from tests.model.state import (
    BARRED,
    CORNERED,
    DONE,
    INTENT,
    LIVE,
    NAMES,
    NONE,
    OWNED,
    PARTICIPANTS,
    REFUSED_BY,
    RETRYING,
    STEPS,
    UNDOING,
    UNDONE,
    Flaws,
    New,
    Outcomes,
    Transaction,
)


def settled(tx: Transaction, participant: str) -> bool:
    return not any(tx.rows[n] in (UNDOING, CORNERED) for n in OWNED[participant])


def answer(tx: Transaction, participant: str, flaws: Flaws) -> None:
    """Answer that nothing of the saga is left at this participant."""
    if participant == "orders":
        count(tx, participant, flaws)
    else:
        tx.enqueue(f"Answer({participant})", "orders")


def count(tx: Transaction, who: str, flaws: Flaws) -> None:
    """Record an answer at the initiator, whatever the status; end the saga if it was the last."""
    if "answers only in ROLLING_BACK" in flaws and tx.status != "ROLLING_BACK":
        return
    if "count without dedupe" in flaws:
        who = f"{who}#{len(tx.answers)}" if len(tx.answers) < 4 else who
    tx.answers |= {who}
    close(tx, flaws)


def close(tx: Transaction, flaws: Flaws) -> None:
    expected = set(PARTICIPANTS) - ({"orders"} if "only others are counted" in flaws else set())
    complete = expected <= tx.answers
    if "count without dedupe" in flaws:
        complete = len(tx.answers) >= len(expected)
    if "close on first answer" in flaws:
        complete = bool(tx.answers - {"orders"})
    if complete and tx.status == "ROLLING_BACK":
        tx.status = "ROLLED_BACK"
        if "journal pruned at the end" in flaws:
            tx.rows = dict.fromkeys(NAMES, NONE)


def receive_refusal(
    new: New, participant: str, refusal: str, again: bool, flaws: Flaws, *, undo_fails: bool
) -> Outcomes:
    """Yield the transactions of a participant that receives a refusal, for the first time or not."""
    tx = new()
    if participant in tx.heard:
        yield from _receive_further_refusal(new, participant, again, flaws, undo_fails=undo_fails)
        return
    apply_refusal(tx, participant, refusal, flaws)
    yield "rolls back", tx
    if undo_fails and _undoable(new(), participant, flaws):
        tx = new()
        apply_refusal(tx, participant, refusal, flaws, undo_fails=True)
        yield "rolls back, undo fails", tx


def _receive_further_refusal(
    new: New, participant: str, again: bool, flaws: Flaws, *, undo_fails: bool
) -> Outcomes:
    """A further refusal changes no row and is answered if the participant is settled; one marked *again*
    retries undos.
    """
    tx = new()
    if "second refusal restarts the count" in flaws and participant == "orders":
        tx.answers = frozenset({"orders"})
    if "undo whatever the row" in flaws:
        for step in _undoable(tx, participant, flaws):
            undo(tx, step)
    if not settled(tx, participant) and again and "reminder does not undo" not in flaws:
        yield from undo_again(new, participant, flaws)
        if undo_fails:
            yield "undo fails again", new()
        return
    if settled(tx, participant) and "first refusal answered only" not in flaws:
        answer(tx, participant, flaws)
    yield "received before", tx


def apply_refusal(
    tx: Transaction, participant: str, refusal: str, flaws: Flaws, *, undo_fails: bool = False
) -> None:
    """Bar the steps that have not run, undo those that have, and answer if settled (rule 5)."""
    tx.heard |= {participant}
    todo = _undoable(tx, participant, flaws)
    if "skips own refusal" in flaws and REFUSED_BY[refusal] == participant:
        todo = []
    for step in OWNED[participant]:
        _bar(tx, step, flaws)
    for step in todo:
        if undo_fails:
            tx.rows[step] = UNDOING
        else:
            undo(tx, step)
    if undo_fails and "undo gives up" not in flaws:
        tx.enqueue("undo", participant)
    if participant == "orders":
        _set_rolling_back(tx, refusal, flaws)
    if "answers only what it undid" in flaws and not todo:
        return
    if settled(tx, participant) or "answer before undo" in flaws:
        answer(tx, participant, flaws)
    if participant == "orders":
        close(tx, flaws)


def _set_rolling_back(tx: Transaction, refusal: str, flaws: Flaws) -> None:
    if tx.status in ("PENDING", "CONFIRMED"):
        tx.leave_pending("ROLLING_BACK", refusal)
    if "refuser is taken as answered" in flaws:
        tx.answers |= {REFUSED_BY[refusal]}


def _bar(tx: Transaction, step: str, flaws: Flaws) -> None:
    row = tx.rows[step]
    if row in LIVE and "no bar" not in flaws and not (row == RETRYING and "retrying is a row" in flaws):
        tx.rows[step] = BARRED
    elif row == INTENT and "intent is a row" not in flaws:
        tx.rows[step] = CORNERED


def _undoable(tx: Transaction, participant: str, flaws: Flaws) -> list[str]:
    with_undo = [n for n in OWNED[participant] if STEPS[n].undo]
    return [n for n in with_undo if tx.rows[n] == DONE or "undo whatever the row" in flaws]


def undo(tx: Transaction, step: str) -> None:
    tx.rows[step] = UNDONE
    if step == "reserve_stock":
        tx.held -= 1
        tx.available += 1
    elif step == "charge":
        tx.refunded += 1


def undo_again(new: New, participant: str, flaws: Flaws) -> Outcomes:
    """Retry the undos that failed (rule 6)."""
    tx = new()
    undoing = [n for n in OWNED[participant] if tx.rows[n] == UNDOING]
    for step in undoing:
        undo(tx, step)
    if undoing and settled(tx, participant) and "answer before undo" not in flaws:
        answer(tx, participant, flaws)
    yield "undoes at last" if undoing else "nothing to undo", tx
