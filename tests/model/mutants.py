"""The scenarios that are checked, and the flaws that the checker must find in them."""

from __future__ import annotations

from tests.model.state import Scenario

PLAIN = Scenario("expiry, cancel, decline, shortage, repeats")
ERRORS = Scenario("and errors, retries, StepFailed", errors=True, duplicates=False)
NO_CANCEL = Scenario("errors, no cancel", errors=True, cancel=False, duplicates=False)
REPEATED_ERRORS = Scenario("errors and repeats", errors=True, cancel=False)
UNDOS = Scenario("undos that fail", undo_fails=True, duplicates=False)
PROVIDER = Scenario("an external provider", external=True, duplicates=False)
LOST = Scenario("one message lost, watchdog", lost=True, cancel=False, duplicates=False)
LOST_ERRORS = Scenario("one lost, watchdog, errors", lost=True, errors=True, cancel=False, duplicates=False)
LOST_UNDOS = Scenario(
    "one lost, watchdog, undos that fail", lost=True, undo_fails=True, cancel=False, duplicates=False
)
PAUSES = Scenario("steps that are paused", pauses=True, cancel=False, duplicates=False)
PAUSES_ERRORS = Scenario(
    "steps that are paused, errors", pauses=True, errors=True, cancel=False, duplicates=False
)
LOST_PAUSES = Scenario(
    "one lost, watchdog, steps that are paused", lost=True, pauses=True, cancel=False, duplicates=False
)
LOST_IMPATIENT = Scenario(
    "one lost, impatient watchdog", lost=True, impatient=True, cancel=False, duplicates=False
)
TWO = Scenario("two sagas, one unit", sagas=2, cancel=False, duplicates=False)

SCENARIOS = (
    PLAIN,
    ERRORS,
    UNDOS,
    PROVIDER,
    LOST,
    LOST_ERRORS,
    LOST_UNDOS,
    PAUSES_ERRORS,
    LOST_PAUSES,
    LOST_IMPATIENT,
)

MUTANTS: tuple[tuple[str, Scenario], ...] = (
    ("no bar", PLAIN),
    ("barred ignored", PLAIN),
    ("barred emits success", PLAIN),
    ("undo whatever the row", PLAIN),
    ("count without dedupe", PLAIN),
    ("close on first answer", PLAIN),
    ("confirm without compare-and-set", PLAIN),
    ("confirm in ROLLING_BACK", PLAIN),
    ("expire without compare-and-set", PLAIN),
    ("cancel turns CONFIRMED", PLAIN),
    ("loser emits its refusal", PLAIN),
    ("undone runs again", PLAIN),
    ("second refusal restarts the count", PLAIN),
    ("acknowledged before commit", PLAIN),
    ("outbox after commit", PLAIN),
    ("outbox before commit", PLAIN),
    ("no journal", PLAIN),
    ("journal pruned at the end", PLAIN),
    ("answers only what it undid", PLAIN),
    ("answers only in ROLLING_BACK", PLAIN),
    ("refuser does not receive its refusal", ERRORS),
    ("refuser is taken as answered", ERRORS),
    ("skips own refusal", ERRORS),
    ("StepFailed without a row", REPEATED_ERRORS),
    ("retrying is a row", ERRORS),
    ("deciding steps give up", ERRORS),
    ("undo gives up", UNDOS),
    ("answer before undo", UNDOS),
    ("intent is a row", PROVIDER),
    ("look-up settles an intent", PROVIDER),
    ("new key at each call", PROVIDER),
    ("first refusal answered only", LOST),
    ("done is not re-sent", LOST),
    ("late signals get no answer", LOST_ERRORS),
    ("reminder does not undo", LOST_UNDOS),
    ("no deadline", LOST),
    ("a pause drops the signal", PAUSES),
    ("a pause writes a row", PAUSES),
    ("reserve unguarded", TWO),
)

HIDDEN = ("no deadline", "deadline not deleted", "only others are counted", "orders undoes at once")
"""Flaws that a second guard makes harmless while no message is lost, so that the checker cannot find them.
``test_redundant_guards.py`` tests each guard alone, on the code.
"""
