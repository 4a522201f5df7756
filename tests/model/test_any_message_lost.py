"""Whichever single message is lost, at whichever hop, the saga ends well (docs/PROTOCOL.md, rules 8, 9 and
12).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from ordersaga.testing import Mail
from tests.model.driver import ModelDriver, ReplayedSaga
from webapp.orders.services import cancel_order

GOOD = {("CONFIRMED", 1, 0, 0, 1), ("ROLLED_BACK", 0, 0, 0, 0), ("ROLLED_BACK", 1, 1, 0, 0)}


@dataclass(frozen=True)
class Course:
    """How a saga would go if nothing were lost."""

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


def hop(mail: Mail) -> str:
    """A message's name: its topic, who gets it, and whether it is a retry."""
    return f"{mail.envelope.topic} to {mail.to}{' alone' if mail.envelope.recipient else ''}"


def run(driver: ModelDriver, course: Course, lose: Callable[[Mail], bool], seed: int) -> ReplayedSaga:
    """One saga to its end, reminded by its watchdog as long as it stands still, and at last by
    its deadline.
    """
    driver.retry(2)
    driver.failing = Counter(course.failing)
    play = driver.order(seed=seed, lose=lose)
    for provided, step in ((course.stock, "reserve_stock"), (course.money, "charge")):
        if provided:
            play.provide(step)
    if course.cancelled:
        cancel_order(play.order, "the customer")
        deliver_first(play, "signal.CancelAsked")
    if course.expired:
        play.rehearsal.due("deadline", play.saga)
        deliver_first(play, "signal.DeadlinePassed")
    play.rehearsal.run()
    remind(play, rounds=4)
    if play.picture().status == "PENDING":
        play.rehearsal.due("deadline", play.saga)
        play.rehearsal.run()
        remind(play, rounds=3)
    driver.failing.clear()
    return play


def deliver_first(play: ReplayedSaga, topic: str) -> None:
    play.rehearsal.collect("orders")
    for mail in [mail for mail in play.rehearsal.mail if mail.envelope.topic == topic]:
        play.rehearsal.deliver(mail)


def remind(play: ReplayedSaga, rounds: int) -> None:
    for _ in range(rounds):
        if not play.ended():
            play.wake_watchdog()
            play.rehearsal.run()


def assert_ended_well(play: ReplayedSaga, lost: str) -> None:
    books = play.picture()
    assert play.ended(), f"{lost} was lost: {books}"
    assert (books.status, books.charged, books.refunded, books.held, books.sold) in GOOD, (
        f"{lost} was lost: {books}"
    )
    assert not {"retrying", "undoing"} & set(books.rows.values()), f"{lost} was lost: {books.rows}"


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES.keys())
def test_losing_any_one_message_still_ends_well(driver: ModelDriver, course: Course):
    hops: dict[str, None] = {}

    def note(mail: Mail) -> bool:
        hops.setdefault(hop(mail))
        return False

    undisturbed = run(driver, course, note, seed=1)
    picture = undisturbed.picture()
    assert course.ends == (picture.turned_by or picture.status)
    assert_ended_well(undisturbed, "nothing")
    assert len(hops) >= 5

    for wanted in hops:
        lost: list[Mail] = []

        def lose(mail: Mail, wanted: str = wanted, lost: list[Mail] = lost) -> bool:
            if not lost and hop(mail) == wanted:
                lost.append(mail)
            return mail in lost

        play = run(driver, course, lose, seed=1)
        assert lost, wanted
        assert_ended_well(play, wanted)
