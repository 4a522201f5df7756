"""A saga ends well whichever single message is lost (docs/PROTOCOL.md, rules 8, 9 and 12)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from ordersaga.testing import QueuedEnvelope
from tests.model.driver import ModelDriver, ReplayedSaga
from webapp.orders.services import send_cancel_request

GOOD = {("CONFIRMED", 1, 0, 0, 1), ("ROLLED_BACK", 0, 0, 0, 0), ("ROLLED_BACK", 1, 1, 0, 0)}


@dataclass(frozen=True)
class Course:
    """The conditions of a saga, and its end when no message is lost."""

    ends: str
    stock: bool = True
    money: bool = True
    cancelled: bool = False
    expired: bool = False
    failing: dict[str, int] = field(default_factory=dict)


COURSES = {
    "confirmed": Course("CONFIRMED"),
    "confirmed at the second attempts": Course(
        "CONFIRMED", failing={"reserve_stock": 1, "charge": 1, "confirm_order": 1}
    ),
    "complete at the second attempts": Course("CONFIRMED", failing={"ship_stock": 1, "complete_order": 1}),
    "out of stock": Course("OutOfStock!", stock=False),
    "declined": Course("PaymentDeclined!", money=False),
    "declined, and the release fails": Course(
        "PaymentDeclined!", money=False, failing={"undo reserve_stock": 1}
    ),
    "cancelled": Course("OrderCancelled!", cancelled=True),
    "expired": Course("OrderExpired!", expired=True),
    "charging fails": Course("StepFailed(charge)!", failing={"charge": 9}),
    "shipping fails": Course("StepFailed(ship_stock)!", failing={"ship_stock": 9}),
    "shipping fails, and so do all undos": Course(
        "StepFailed(ship_stock)!",
        failing={"ship_stock": 9, "undo reserve_stock": 1, "undo charge": 1, "undo confirm_order": 1},
    ),
}


def hop(mail: QueuedEnvelope) -> str:
    """Name a message by its topic, its recipient and whether it is a retry."""
    return f"{mail.envelope.topic} to {mail.to}{' alone' if mail.envelope.recipient else ''}"


def run(
    driver: ModelDriver, course: Course, lose: Callable[[QueuedEnvelope], bool], seed: int
) -> ReplayedSaga:
    """Run one saga to its end, with its watchdog while it does not move, and at last its deadline."""
    driver.retry(2)
    driver.failing = Counter(course.failing)
    replayed = driver.order(seed=seed, lose=lose)
    for provided, step in ((course.stock, "reserve_stock"), (course.money, "charge")):
        if provided:
            replayed.provide(step)
    if course.cancelled:
        send_cancel_request(replayed.order, "the customer")
        deliver_first(replayed, "signal.CancelAsked")
    if course.expired:
        replayed.rehearsal.make_timers_due("deadline", replayed.saga)
        deliver_first(replayed, "signal.DeadlinePassed")
    replayed.rehearsal.run()
    remind(replayed, rounds=4)
    if replayed.observe().status == "PENDING":
        replayed.rehearsal.make_timers_due("deadline", replayed.saga)
        replayed.rehearsal.run()
        remind(replayed, rounds=3)
    driver.failing.clear()
    return replayed


def deliver_first(replayed: ReplayedSaga, topic: str) -> None:
    replayed.rehearsal.collect("orders")
    for mail in [mail for mail in replayed.rehearsal.queued if mail.envelope.topic == topic]:
        replayed.rehearsal.deliver(mail)


def remind(replayed: ReplayedSaga, rounds: int) -> None:
    for _ in range(rounds):
        if not replayed.ended():
            replayed.run_watchdog()
            replayed.rehearsal.run()


def assert_ended_well(replayed: ReplayedSaga, lost: str) -> None:
    observed = replayed.observe()
    assert replayed.ended(), f"{lost} was lost: {observed}"
    assert (observed.status, observed.charged, observed.refunded, observed.held, observed.sold) in GOOD, (
        f"{lost} was lost: {observed}"
    )
    assert not {"retrying", "undoing"} & set(observed.rows.values()), f"{lost} was lost: {observed.rows}"


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES.keys())
def test_a_saga_ends_well_after_losing_any_one_message(driver: ModelDriver, course: Course):
    hops: dict[str, None] = {}

    def note(mail: QueuedEnvelope) -> bool:
        hops.setdefault(hop(mail))
        return False

    undisturbed = run(driver, course, note, seed=1)
    observed = undisturbed.observe()
    assert course.ends == (observed.refusal or observed.status)
    assert_ended_well(undisturbed, "nothing")
    assert len(hops) >= 5

    for wanted in hops:
        lost: list[QueuedEnvelope] = []

        def lose(mail: QueuedEnvelope, wanted: str = wanted, lost: list[QueuedEnvelope] = lost) -> bool:
            if not lost and hop(mail) == wanted:
                lost.append(mail)
            return mail in lost

        replayed = run(driver, course, lose, seed=1)
        assert lost, wanted
        assert_ended_well(replayed, wanted)
