"""Lost messages that reminders alone do not make up for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ordersaga.testing import QueuedEnvelope, Rehearsal
from tests.ordersaga.toy_saga import DESK, LISTEN, Plan, Shape, Toy, empty_outbox, toy_database
from tests.support.postgres import Postgres


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> Iterator[str]:
    with toy_database(postgres, "losses") as url:
        yield url


def test_a_refusal_lost_to_the_initiator_waits_for_the_deadline(url: str):
    """The others have undone their steps, and an undone step does not forward a reminder to the step that
    refused.
    """
    shape = Shape(("shelf", "till"), (False, False), plans={("step1", 0): Plan(refuses=True)})
    toy, rehearsal, saga = run(url, shape, DESK, "refusal.Refused1")

    remind(toy, rehearsal, saga)
    assert toy.is_open(saga)
    rehearsal.make_timers_due("deadline", saga)
    rehearsal.run()

    assert toy.assert_all_or_nothing(saga, lost=True) == "ROLLED_BACK"
    toy.database.discard()


@pytest.mark.parametrize("attempts", [0, 1], ids=["its signal", "its retry"])
def test_a_listening_end_whose_message_is_lost_does_not_run(url: str, attempts: int):
    """The saga is complete without it, and a complete saga gets no reminder."""
    plans = {(f"{LISTEN}0", 0): Plan(failures=attempts)}
    shape = Shape(("shelf",), (False,), ships="shelf", plans=plans, listeners=(("till", 0),))
    toy, rehearsal, saga = run(url, shape, "till", "signal.Heard0", retry=bool(attempts))

    remind(toy, rehearsal, saga)

    assert toy.assert_all_or_nothing(saga, lost=True) == "CONFIRMED"
    assert not toy.rows("SELECT 1 FROM effect WHERE saga_id = %s AND step = %s", saga, f"{LISTEN}0")
    toy.database.discard()


def run(url: str, shape: Shape, to: str, topic: str, *, retry: bool = False) -> tuple[Toy, Rehearsal, str]:
    """Run one saga until nothing is left to deliver; lose the first message of this kind."""
    lost: list[QueuedEnvelope] = []

    def lose(queued: QueuedEnvelope) -> bool:
        if not lost and (queued.to, queued.envelope.topic, queued.envelope.recipient is not None) == (
            to,
            topic,
            retry,
        ):
            lost.append(queued)
        return queued in lost

    empty_outbox(url)
    toy = Toy(shape, url)
    rehearsal = Rehearsal(toy.choreography, lose=lose)
    [saga] = toy.start(1)
    rehearsal.run()
    assert lost
    return toy, rehearsal, saga


def remind(toy: Toy, rehearsal: Rehearsal, saga: str) -> None:
    toy.let_wait([saga])
    rehearsal.make_timers_due("watchdog")
    rehearsal.run()
