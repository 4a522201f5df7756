"""The state of a reference model of the order saga, as plain values; the rules stand in the files beside this
one.

One transition is one committed transaction of one participant, or one act of the outside world: the customer,
the clock, the payment provider, the loss of a message. Nothing is shared between participants but the mail.

**The mail.** An outbox row that may stay for any time and a message that may travel for any time cannot be
told apart by anyone, so outbox and broker are one set: (signal, recipient, still owed?). Mail is never
forgotten: once handled it may be handled again, at any time, any number of times. That covers crashes of
relays and workers between any two commits, redelivery, replay and every reordering. Owed mail must be handled
at least once before the saga counts as quiet. The deadline is the one outbox row modelled apart, because it
can be struck out. A signal said *again* ends in ``*``.

**Flaws** are named departures from the protocol, each a mistake that somebody could make; ``mutants.py``
lists them. The checker must find something wrong with each, and with the protocol itself nothing.

Left to tests of the real database: what two transactions do to one another while both are open.
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
    hears: str
    says: str = ""
    heard_by: str = ""
    refusal: str = ""
    undo: bool = False
    gives_up: bool = True
    """After its last attempt the engine says StepFailed for it; otherwise it is tried for ever."""


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
HEARD_AT = {s.hears: n for n, s in STEPS.items()}
REFUSED_BY = {s.refusal: s.owner for s in STEPS.values() if s.refusal}
REFUSED_BY |= {f"StepFailed({n})!": s.owner for n, s in STEPS.items()}

NONE, RETRYING, INTENT, CORNERED = "-", "retrying", "intent", "cornered"
DONE, REFUSED, VOID, BARRED, UNDOING, UNDONE = "done", "refused", "void", "barred", "undoing", "undone"
LIVE = (NONE, RETRYING)
LATE = (BARRED, REFUSED, UNDONE)


@dataclass(frozen=True)
class Scenario:
    """What the world may do."""

    name: str
    sagas: int = 1
    cancel: bool = True
    errors: bool = False
    undo_fails: bool = False
    pauses: bool = False
    """A step may be paused: what reaches it is put back into the own queue, and no row is written."""
    external: bool = False
    """The charge is a call to a provider: intent, call, outcome (see ``provider.py``)."""
    duplicates: bool = True
    lost: bool = False
    """One piece of mail is lost for good, and the watchdog says again what the saga waits for."""
    impatient: bool = False
    """The watchdog reminds although the saga moves, and nobody repeats a signal that the own outbox still
    owes.
    """


class Saga(NamedTuple):
    status: str
    turned_by: str
    rows: tuple[str, ...]
    heard: frozenset[str]
    answers: frozenset[str]
    charged: int
    refunded: int
    provider: str
    held: int
    sold: int
    deadline: bool
    mail: frozenset[tuple[str, str, bool]]
    said: frozenset[str]
    lost: str

    def row(self, step: str) -> str:
        return self.rows[NAMES.index(step)]


World = tuple[int, tuple[Saga, ...]]
"""Units in stock that nobody holds, and the sagas that compete for them."""


class Act(NamedTuple):
    """What happens: ``to`` hears ``signal``, and how it goes; or what the outside world does."""

    to: str
    signal: str
    how: str
    owed: bool = True
    """Whether it is bound to happen: repeats, losses and wishes of the customer only may."""
    saga: int = 0

    def __str__(self) -> str:
        return (
            f"saga {self.saga}: {self.to} {'hears' if self.owed else 'may hear'} {self.signal} → {self.how}"
        )


class Draft:
    """One transaction on one saga: read it, change it, freeze it."""

    def __init__(self, world: World, index: int, flaws: Flaws, scenario: Scenario) -> None:
        self.available, self._sagas = world
        self._index, self.flaws, self.scenario = index, flaws, scenario
        saga = self._sagas[index]
        self.status, self.turned_by, self.heard, self.answers = (
            saga.status,
            saga.turned_by,
            saga.heard,
            saga.answers,
        )
        self.charged, self.refunded, self.provider = saga.charged, saga.refunded, saga.provider
        self.held, self.sold, self.deadline = saga.held, saga.sold, saga.deadline
        self.mail, self.said, self.lost = saga.mail, saga.said, saga.lost
        self.rows = dict(zip(NAMES, saga.rows, strict=True))

    def freeze(self) -> World:
        saga = Saga(
            self.status,
            self.turned_by,
            tuple(self.rows.values()),
            self.heard,
            self.answers,
            min(self.charged, 3),
            min(self.refunded, 3),
            self.provider,
            self.held,
            self.sold,
            self.deadline,
            self.mail,
            self.said,
            self.lost,
        )
        sagas = list(self._sagas)
        sagas[self._index] = saga
        return self.available, tuple(sagas)

    def handled(self, signal: str, to: str) -> None:
        self.mail -= {(signal, to, True)}
        if self.scenario.duplicates:
            self.mail |= {(signal, to, False)}

    def post(self, signal: str, to: str, *, owed: bool = True) -> None:
        self.mail = self.mail - {(signal, to, not owed)} | {(signal, to, owed)}

    def say(self, signal: str, *recipients: str, again: bool = False) -> None:
        if not signal:
            return
        self.said |= {signal}
        if signal in REFUSED_BY:
            again = (
                again and self.scenario.undo_fails
            )  # elsewhere the mark on a refusal means nothing: fewer states
            recipients = PARTICIPANTS
            if "refuser deaf" in self.flaws:
                recipients = tuple(p for p in PARTICIPANTS if p != REFUSED_BY[signal])
        for to in filter(None, recipients):
            self.post(signal + AGAIN * again, to)

    def leave_pending(self, status: str, by: str = "") -> None:
        self.status, self.turned_by = status, by
        if "deadline not struck" not in self.flaws:
            self.deadline = False


New = Callable[[], Draft]
Outcomes = Iterator[tuple[str, Draft]]
