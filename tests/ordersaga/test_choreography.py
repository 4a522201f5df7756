"""An invalid choreography is refused before the first message, with the step, the fault and the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from ordersaga import (
    Batch,
    Event,
    Participant,
    Signal,
    StepFailed,
)
from ordersaga.diagram import draw
from tests.ordersaga.sample_saga import (
    Agreed,
    Asked,
    Booked,
    Full,
    Late,
    Sent,
    Trip,
    UnusedDatabase,
    Wish,
    refused,
)


@pytest.fixture
def trip() -> Trip:
    return Trip()


def test_a_valid_choreography_knows_its_pivot_end_and_bindings(trip: Trip) -> None:
    whole = trip.whole()
    assert whole.pivots() == [trip.send]
    assert whole.completes(trip.finish)
    assert not whole.completes(trip.send)
    assert whole.bindings(trip.hotel) == ["signal.Asked", "signal.Agreed", "refusal.#", "to.hotel"]
    assert "answer" in whole.bindings(trip.desk)
    assert [s.name for s in whole.undo_order([trip.book, trip.send])] == ["send", "book"]


def test_an_unconsumed_signal_is_refused_unless_it_is_an_end(trip: Trip) -> None:
    del trip.desk.steps["finish"]
    refused(trip.whole, "hotel.send", "Sent", "no step consumes", "ends")


def test_a_step_on_a_signal_that_nothing_emits_is_refused(trip: Trip) -> None:
    @trip.desk.step(decides=True)
    def cancel(wish: Wish) -> Late:
        return Late()

    refused(trip.whole, "desk.cancel", "Wish", "no step emits", "accepts")
    trip.options["accepts"] = (Wish,)
    trip.whole()


def test_a_step_without_undo_before_one_that_can_refuse_is_refused(trip: Trip) -> None:
    trip.book.declared_undo = None
    refused(trip.whole, "hotel.book", "no undo", "@book.undo")


def test_a_deadline_without_a_deciding_step_is_refused(trip: Trip) -> None:
    del trip.desk.steps["expire"]
    refused(trip.whole, "saga trip", "deadline", "DeadlinePassed")


def test_a_saga_without_a_deadline_is_refused(trip: Trip) -> None:
    trip.options["deadline"] = timedelta(0)
    refused(trip.whole, "saga trip", "no deadline")


def test_a_saga_that_cannot_succeed_is_refused(trip: Trip) -> None:
    trip.agree.decides = False
    trip.agree.signature = trip.finish.signature.__class__(Booked, (), False, True, frozenset())
    trip.options["ends"] = (Sent,)
    trip.options["accepts"] = (Agreed,)
    refused(trip.whole, "saga trip", "cannot succeed", "decides=True")


def test_an_unreachable_end_is_refused(trip: Trip) -> None:
    trip.options["begins_with"] = Wish
    trip.options["accepts"] = (Asked,)
    refused(trip.whole, "desk.agree", "cannot be reached from Wish")


def test_two_steps_of_one_participant_on_one_signal_are_refused(trip: Trip) -> None:
    def book_again(asked: Asked) -> Booked:
        return Booked()

    refused(lambda: trip.hotel.step(book_again), "hotel.book_again", "Asked", "hotel.book")


def test_only_the_initiator_decides(trip: Trip) -> None:
    trip.options["initiator"] = "hotel"
    refused(trip.whole, "desk.agree", "another participant than the initiator", "hotel")


def test_a_deciding_step_that_refuses_has_no_undo_and_one_end(trip: Trip) -> None:
    def both(wish: Wish) -> Agreed | Late:
        return Late()

    refused(lambda: trip.desk.step(both, decides=True), "desk.both", "both successes and refusals")


def test_a_failing_step_off_the_path_to_confirmation_is_refused(trip: Trip) -> None:
    """If it failed after the confirmation, a shipped order would roll back."""
    points = Participant("points", database=UnusedDatabase())

    @points.step
    def award(booked: Booked) -> Wish:
        return Wish()

    @award.undo
    def take_back(awarded: Wish) -> None: ...

    trip.others.append(points)
    trip.options["ends"] = (Wish,)
    refused(trip.whole, "points.award", "the confirmation does not wait for it")


def test_nothing_may_refuse_after_the_confirmation(trip: Trip) -> None:
    bed = Participant("bed", database=UnusedDatabase())

    @bed.step
    def make(agreed: Agreed) -> Wish:
        return Wish()

    @trip.desk.step
    def hear(wish: Wish) -> None: ...

    trip.others.append(bed)
    refused(trip.whole, "after the confirmation", "one pivot")


def test_a_pivot_cannot_be_undone(trip: Trip) -> None:
    @trip.send.undo
    def unsend(sent: Sent) -> None: ...

    refused(trip.whole, "hotel.send", "pivot cannot be undone")


def test_a_pivot_whose_signal_the_initiator_ignores_is_refused(trip: Trip) -> None:
    del trip.desk.steps["finish"]
    trip.options["ends"] = (Sent,)
    refused(trip.whole, "hotel.send", "desk does not consume Sent")


def test_a_cycle_of_steps_is_refused(trip: Trip) -> None:
    ring = Participant("ring", database=UnusedDatabase())

    @ring.step
    def turn(booked: Booked) -> Asked:
        return Asked()

    @turn.undo
    def unturn(asked: Asked) -> None: ...

    trip.others.append(ring)
    refused(trip.whole, "cycle")


def test_a_listed_participant_that_cannot_answer_is_refused(trip: Trip) -> None:
    empty = Participant("empty", database=UnusedDatabase())
    trip.others.append(empty)
    trip.options["participants"] = ["desk", "hotel", "empty"]
    refused(trip.whole, "empty", "cannot answer")


def test_listed_participants_and_those_with_steps_must_match(trip: Trip) -> None:
    trip.options["participants"] = ["desk"]
    refused(trip.whole, "hotel", "not in the participants")
    trip.options["participants"] = ["desk", "hotel", "ghost"]
    refused(trip.whole, "ghost", "not declared")


def test_two_signals_of_one_name_are_refused(trip: Trip) -> None:
    other = type("Wish", (Signal,), {})
    trip.options["accepts"] = (Wish, other)
    refused(trip.whole, "Wish", "name of two signals")


def test_only_the_engine_emits_step_failed(trip: Trip) -> None:
    def fail(wish: Wish) -> StepFailed:
        raise AssertionError

    refused(lambda: trip.hotel.step(fail), "hotel.fail", "StepFailed", "Raise")


def test_insufficient_type_hints_are_refused(trip: Trip) -> None:
    def silent(asked): ...

    def odd(asked: int) -> Booked:
        return Booked()

    def asks_more(wish: Wish, clock: object) -> None: ...

    def mixed(wish: Batch[Wish]) -> Booked:
        return Booked()

    def hears_refusal(full: Full) -> None: ...

    refused(lambda: trip.hotel.step(silent), "hotel.silent", "Annotate")
    refused(lambda: trip.hotel.step(odd), "hotel.odd", "does not consume one signal")
    refused(lambda: trip.hotel.step(asks_more), "hotel.asks_more", "clock", "`db` and `saga`")
    refused(lambda: trip.hotel.step(mixed), "hotel.mixed", "Batch for both")
    refused(lambda: trip.hotel.step(hears_refusal), "hotel.hears_refusal", "Full", "undo")


def test_an_undo_receives_what_its_step_emitted(trip: Trip) -> None:
    del trip.hotel.steps["book"]

    @trip.hotel.step
    def book(asked: Asked) -> Booked | Full:
        return Booked()

    def undo_other(agreed: Agreed) -> None: ...

    refused(lambda: book.undo(undo_other), "hotel.undo_other", "Agreed", "Booked")


def test_an_undo_accepts_every_signal_its_step_emits(trip: Trip) -> None:
    del trip.hotel.steps["book"]

    @trip.hotel.step
    def book(asked: Batch[Asked]) -> Batch[Booked | Wish | Full | None]:
        return Batch({})

    def undo_one(booked: Batch[Booked]) -> None: ...

    def undo_nothing(booked: Batch[Booked | None]) -> None: ...

    def undo_all(booked: Batch[Booked | Wish]) -> None: ...

    refused(lambda: book.undo(undo_one), "hotel.undo_one", "does not take Wish", "Booked | Wish")
    refused(lambda: book.undo(undo_nothing), "hotel.undo_nothing", "does not consume one signal")
    book.undo(undo_all)


def test_only_an_undo_consumes_several_signals(trip: Trip) -> None:
    def greedy(wish: Wish | Sent) -> None: ...

    refused(lambda: trip.hotel.step(greedy), "hotel.greedy", "does not consume one signal")


def test_a_coroutine_or_generator_step_is_refused(trip: Trip) -> None:
    async def later(wish: Wish) -> None: ...

    def bit_by_bit(wish: Wish) -> Iterator[None]:
        yield

    async def undo_later(booked: Booked) -> None: ...

    async def late_later(booked: Batch[Booked]) -> None: ...

    async def write_later(events: list[Event], db: object) -> None: ...

    trip.book.declared_undo = None
    write: Any = write_later
    declarations: list[Callable[[], object]] = [
        lambda: trip.hotel.step(later),
        lambda: trip.book.undo(undo_later),
        lambda: trip.agree.too_late(late_later),
        lambda: Participant("log", database=UnusedDatabase()).observe(write),
    ]
    for declare in declarations:
        refused(declare, "is asynchronous", "plain `def`")
    refused(lambda: trip.hotel.step(bit_by_bit), "hotel.bit_by_bit", "is a generator")


def test_a_deciding_step_always_emits(trip: Trip) -> None:
    def perhaps(wish: Wish) -> Agreed | None:
        return None

    def never(passed: Wish) -> Late | None:
        return None

    refused(lambda: trip.desk.step(perhaps, decides=True), "desk.perhaps", "may return None")
    refused(lambda: trip.desk.step(never, decides=True), "desk.never", "may return None")


def test_a_confirmation_that_leads_to_no_end_is_refused(trip: Trip) -> None:
    """The saga would be confirmed and never end, and its watchdog would send reminders without limit."""
    del trip.hotel.steps["send"]
    del trip.desk.steps["finish"]

    @trip.hotel.step
    def note(agreed: Agreed) -> None: ...

    refused(trip.whole, "desk.agree", "confirms with Agreed", "would never end")
    del trip.hotel.steps["note"]
    trip.whole()


def test_a_pivot_emits_signals_that_the_initiator_consumes(trip: Trip) -> None:
    del trip.hotel.steps["send"]

    @trip.hotel.step
    def send(agreed: Agreed) -> Sent | None:
        return None

    refused(trip.whole, "hotel.send", "may return None", "never end")
    del trip.hotel.steps["send"]

    @trip.hotel.step
    def send_or_fetch(agreed: Agreed) -> Sent | Wish:
        return Sent()

    trip.options["ends"] = (Wish,)
    refused(trip.whole, "hotel.send_or_fetch", "does not consume Wish")


def test_a_step_without_a_signal_is_refused(trip: Trip) -> None:
    def look(wish: Wish) -> None: ...

    refused(lambda: trip.hotel.step(look, max_signals=0), "hotel.look", "positive max_signals")


def test_an_observer_has_no_steps_and_receives_everything(trip: Trip) -> None:
    log = Participant("log", database=UnusedDatabase())

    @log.observe
    def write(events: list[Event], db: object) -> None: ...

    trip.others.append(log)
    assert trip.whole().bindings(log) == ["to.all-observers", "notice", "to.log"]
    refused(lambda: trip.hotel.observe(write), "hotel", "has steps and an observer")


def test_a_choreography_renders_as_text_mermaid_and_json(trip: Trip) -> None:
    whole = trip.whole()
    assert "Asked → hotel.book → Booked | Full! undo: unbook" in " ".join(draw(whole).split())
    assert "hotel_book -->|Booked| desk_agree" in draw(whole, "mermaid")
    steps = {s["step"]: s for s in json.loads(draw(whole, "json"))["steps"]}
    assert steps["send"]["role"] == "pivot"
    assert steps["book"]["refuses"] == ["Full"]
    with pytest.raises(ValueError, match="text, mermaid, json"):
        draw(whole, "svg")
