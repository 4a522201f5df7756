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
    Draft,
    Flaws,
    New,
    Outcomes,
)


def settled(draft: Draft, participant: str) -> bool:
    return not any(draft.rows[n] in (UNDOING, CORNERED) for n in OWNED[participant])


def answer(draft: Draft, participant: str, flaws: Flaws) -> None:
    """Say that nothing of this saga is left here, nor ever will be."""
    if participant == "orders":
        count(draft, participant, flaws)
    else:
        draft.post(f"Answer({participant})", "orders")


def count(draft: Draft, who: str, flaws: Flaws) -> None:
    """The initiator notes an answer whatever the status, and closes when all have answered and the saga has
    turned.
    """
    if "answers only in ROLLING_BACK" in flaws and draft.status != "ROLLING_BACK":
        return
    if "count without dedupe" in flaws:
        who = f"{who}#{len(draft.answers)}" if len(draft.answers) < 4 else who
    draft.answers |= {who}
    close(draft, flaws)


def close(draft: Draft, flaws: Flaws) -> None:
    expected = set(PARTICIPANTS) - ({"orders"} if "only others are counted" in flaws else set())
    complete = expected <= draft.answers
    if "count without dedupe" in flaws:
        complete = len(draft.answers) >= len(expected)
    if "close on first answer" in flaws:
        complete = bool(draft.answers - {"orders"})
    if complete and draft.status == "ROLLING_BACK":
        draft.status = "ROLLED_BACK"
        if "journal pruned at the end" in flaws:
            draft.rows = dict.fromkeys(NAMES, NONE)


def hear_refusal(
    new: New, participant: str, refusal: str, again: bool, flaws: Flaws, *, undo_fails: bool
) -> Outcomes:
    """A refusal reaches a participant, for the first time or not."""
    draft = new()
    if participant in draft.heard:
        yield from _hear_more(new, participant, again, flaws, undo_fails=undo_fails)
        return
    hear_refusal_at(draft, participant, refusal, flaws)
    yield "turns back", draft
    if undo_fails and _undoable(new(), participant, flaws):
        draft = new()
        hear_refusal_at(draft, participant, refusal, flaws, undo_fails=True)
        yield "turns back, undo fails", draft


def _hear_more(new: New, participant: str, again: bool, flaws: Flaws, *, undo_fails: bool) -> Outcomes:
    """A further refusal changes no row and is answered if all is settled; one said again tries what is
    undoing.
    """
    draft = new()
    if "second refusal restarts the count" in flaws and participant == "orders":
        draft.answers = frozenset({"orders"})
    if "undo blind" in flaws:
        for step in _undoable(draft, participant, flaws):
            undo(draft, step)
    if not settled(draft, participant) and again and "reminder does not undo" not in flaws:
        yield from undo_again(new, participant, flaws)
        if undo_fails:
            yield "undo fails again", new()
        return
    if settled(draft, participant) and "first refusal answered only" not in flaws:
        answer(draft, participant, flaws)
    yield "heard before", draft


def hear_refusal_at(
    draft: Draft, participant: str, refusal: str, flaws: Flaws, *, undo_fails: bool = False
) -> None:
    """Bar what has not run, undo what has, answer when nothing is left: one transaction (rule 5)."""
    draft.heard |= {participant}
    todo = _undoable(draft, participant, flaws)
    if "skips own refusal" in flaws and REFUSED_BY[refusal] == participant:
        todo = []
    for step in OWNED[participant]:
        _bar(draft, step, flaws)
    for step in todo:
        if undo_fails:
            draft.rows[step] = UNDOING
        else:
            undo(draft, step)
    if undo_fails and "undo gives up" not in flaws:
        draft.post("undo", participant)
    if participant == "orders":
        _turn(draft, refusal, flaws)
    if "answers only what it undid" in flaws and not todo:
        return
    if settled(draft, participant) or "answer before undo" in flaws:
        answer(draft, participant, flaws)
    if participant == "orders":
        close(draft, flaws)


def _turn(draft: Draft, refusal: str, flaws: Flaws) -> None:
    if draft.status in ("PENDING", "CONFIRMED"):
        draft.leave_pending("ROLLING_BACK", refusal)
    if "refuser is taken as answered" in flaws:
        draft.answers |= {REFUSED_BY[refusal]}


def _bar(draft: Draft, step: str, flaws: Flaws) -> None:
    row = draft.rows[step]
    if row in LIVE and "no bar" not in flaws and not (row == RETRYING and "retrying is a row" in flaws):
        draft.rows[step] = BARRED
    elif row == INTENT and "intent is a row" not in flaws:
        draft.rows[step] = CORNERED


def _undoable(draft: Draft, participant: str, flaws: Flaws) -> list[str]:
    with_undo = [n for n in OWNED[participant] if STEPS[n].undo]
    return [n for n in with_undo if draft.rows[n] == DONE or "undo blind" in flaws]


def undo(draft: Draft, step: str) -> None:
    draft.rows[step] = UNDONE
    if step == "reserve_stock":
        draft.held -= 1
        draft.available += 1
    elif step == "charge":
        draft.refunded += 1


def undo_again(new: New, participant: str, flaws: Flaws) -> Outcomes:
    """What is undoing is tried once more (rule 6)."""
    draft = new()
    undoing = [n for n in OWNED[participant] if draft.rows[n] == UNDOING]
    for step in undoing:
        undo(draft, step)
    if undoing and settled(draft, participant) and "answer before undo" not in flaws:
        answer(draft, participant, flaws)
    yield "undoes at last" if undoing else "nothing to undo", draft
