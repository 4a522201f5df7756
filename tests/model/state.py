"""The state of a reference model of the order saga, as plain values. The other modules hold the rules.

A transition is one committed transaction of one participant, or one event outside: a request of the customer,
the clock, the payment provider, or the loss of a message. Participants share nothing but messages.

**Messages.** A model need not distinguish an outbox row from a message in the broker, since either may wait
for any time. Both are one set of (signal, recipient, still owed?). A message stays in the set: once handled,
it may be handled again at any time and any number of times. This covers crashes of relays and workers between
any two commits, redelivery, replay and every reordering. An owed message must be handled at least once before
the saga counts as quiet. The deadline is modelled apart, because it can be cancelled. The name of a signal
that is marked *again* ends in ``*``.

**Flaws** are named departures from the protocol that a programmer might make; ``mutants.py`` lists them. The
checker must find a fault with each flaw, and none without.

Not modelled: how two open transactions affect each other. Tests on the real database cover that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

Flaws = frozenset[str]
PARTICIPANTS = ("orders", "inventory", "payments")
AGAIN = "*"


class Step(NamedTuple):
    owner: str
    consumes: str
    emits: str = ""
    consumed_by: str = ""
    refusal: str = ""
    undo: bool = False
    gives_up: bool = True
    """After the last attempt the engine emits StepFailed. Otherwise the step is tried until it succeeds."""


STEPS = {
    "confirm_order": Step("orders", "PaymentCharged", "OrderConfirmed", "inventory", undo=True),
    "expire_order": Step("orders", "DeadlinePassed", refusal="OrderExpired!", gives_up=False),
    "cancel": Step("orders", "CancelAsked", refusal="OrderCancelled!", gives_up=False),
    "complete_order": Step("orders", "StockShipped", gives_up=False),
    "reserve_stock": Step("inventory", "OrderPlaced", "StockReserved", "payments", "OutOfStock!", undo=True),
    "ship_stock": Step("inventory", "OrderConfirmed", "StockShipped", "orders"),
    "charge": Step("payments", "StockReserved", "PaymentCharged", "orders", "PaymentDeclined!", undo=True),
}
NAMES = tuple(STEPS)
OWNED = {p: tuple(n for n, s in STEPS.items() if s.owner == p) for p in PARTICIPANTS}
CONSUMED_BY = {s.consumes: n for n, s in STEPS.items()}
REFUSED_BY = {s.refusal: s.owner for s in STEPS.values() if s.refusal}
REFUSED_BY |= {f"StepFailed({n})!": s.owner for n, s in STEPS.items()}

NONE, RETRYING, INTENT, CORNERED = "-", "retrying", "intent", "cornered"
DONE, REFUSED, VOID, BARRED, UNDOING, UNDONE = "done", "refused", "void", "barred", "undoing", "undone"
LIVE = (NONE, RETRYING)
LATE = (BARRED, REFUSED, UNDONE)


@dataclass(frozen=True)
class Scenario:
    """Which events a check includes."""

    name: str
    sagas: int = 1
    cancel: bool = True
    errors: bool = False
    undo_fails: bool = False
    pauses: bool = False
    """A step may be paused: its signals return to the participant's own queue, and no row is written."""
    external: bool = False
    """The charge is a call to a provider: intent, call, outcome (see ``provider.py``)."""
    duplicates: bool = True
    lost: bool = False
    """One message is lost, and the watchdog re-sends what the saga waits for."""
    impatient: bool = False
    """The watchdog reminds although the saga moves. No signal is re-sent that the outbox still owes."""


class SagaState(NamedTuple):
    status: str
    refusal: str
    rows: tuple[str, ...]
    heard: frozenset[str]
    answers: frozenset[str]
    charged: int
    refunded: int
    provider: str
    held: int
    sold: int
    deadline: bool
    messages: frozenset[tuple[str, str, bool]]
    emitted: frozenset[str]
    lost: str

    def row(self, step: str) -> str:
        return self.rows[NAMES.index(step)]


ModelState = tuple[int, tuple[SagaState, ...]]
"""Units available in stock, and the sagas that compete for them."""


class Act(NamedTuple):
    """``to`` receives ``signal`` with the outcome ``how``; or an event outside the participants."""

    to: str
    signal: str
    how: str
    owed: bool = True
    """Whether it happens in the end; false for repeats, losses and requests of the customer."""
    saga: int = 0

    def __str__(self) -> str:
        return (
            f"saga {self.saga}: {self.to} {'receives' if self.owed else 'may receive'} {self.signal}"
            f" → {self.how}"
        )


class Transaction:
    """One transaction on one saga: a mutable copy, which :meth:`freeze` commits."""

    def __init__(self, state: ModelState, index: int, flaws: Flaws, scenario: Scenario) -> None:
        self.available, self._sagas = state
        self._index, self.flaws, self.scenario = index, flaws, scenario
        saga = self._sagas[index]
        self.status, self.refusal, self.heard, self.answers = (
            saga.status,
            saga.refusal,
            saga.heard,
            saga.answers,
        )
        self.charged, self.refunded, self.provider = saga.charged, saga.refunded, saga.provider
        self.held, self.sold, self.deadline = saga.held, saga.sold, saga.deadline
        self.messages, self.emitted, self.lost = saga.messages, saga.emitted, saga.lost
        self.rows = dict(zip(NAMES, saga.rows, strict=True))

    def freeze(self) -> ModelState:
        saga = SagaState(
            self.status,
            self.refusal,
            tuple(self.rows.values()),
            self.heard,
            self.answers,
            min(self.charged, 3),
            min(self.refunded, 3),
            self.provider,
            self.held,
            self.sold,
            self.deadline,
            self.messages,
            self.emitted,
            self.lost,
        )
        sagas = list(self._sagas)
        sagas[self._index] = saga
        return self.available, tuple(sagas)

    def handled(self, signal: str, to: str) -> None:
        self.messages -= {(signal, to, True)}
        if self.scenario.duplicates:
            self.messages |= {(signal, to, False)}

    def enqueue(self, signal: str, to: str, *, owed: bool = True) -> None:
        self.messages = self.messages - {(signal, to, not owed)} | {(signal, to, owed)}

    def emit(self, signal: str, *recipients: str, again: bool = False) -> None:
        if not signal:
            return
        self.emitted |= {signal}
        if signal in REFUSED_BY:
            # Without failing undos the mark changes nothing; dropping it keeps the state space small.
            again = again and self.scenario.undo_fails
            recipients = PARTICIPANTS
            if "refuser does not receive its refusal" in self.flaws:
                recipients = tuple(p for p in PARTICIPANTS if p != REFUSED_BY[signal])
        for to in filter(None, recipients):
            self.enqueue(signal + AGAIN * again, to)

    def leave_pending(self, status: str, by: str = "") -> None:
        self.status, self.refusal = status, by
        if "deadline not deleted" not in self.flaws:
            self.deadline = False


New = Callable[[], Transaction]
Outcomes = Iterator[tuple[str, Transaction]]
