"""Operators resume sagas, and replay and discard dead letters. The participants run in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from ordersaga.celery.dead_letters import DeadMessage
from ordersaga.celery.topology import unheard_queue
from ordersaga.claim import OutgoingEnvelope
from ordersaga.signing import Keyring
from tests.support.db_probe import DatabaseProbe, has_no_duplicates
from tests.support.in_process import InProcessSagas, deliver_all, to
from webapp.audit.models import DeadLetter
from webapp.audit.services import discard, replay
from webapp.operators import ActionRefused
from webapp.orders.services import resume_saga
from workers.audit.dead_letters import keep
from workers.settings import settings

OURS = Keyring.parse(settings().signing_keys)
FORGER = Keyring([("sample", b"a secret of another system")])
NO_RELEASE = """
CREATE FUNCTION no_release() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'releasing fails'; END $$;
CREATE TRIGGER no_release BEFORE UPDATE ON reservation
FOR EACH ROW WHEN (NEW.state = 'released') EXECUTE FUNCTION no_release();
"""
NO_HOLD = """
CREATE FUNCTION no_hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no shelf'; END $$;
CREATE TRIGGER no_hold BEFORE INSERT ON reservation FOR EACH ROW EXECUTE FUNCTION no_hold();
"""


@contextmanager
def failing_database(probe: DatabaseProbe, how: str, owner: str = "inventory") -> Iterator[None]:
    """Make a database refuse by a trigger; ``how`` names trigger and function."""
    name = how.split("FUNCTION ")[1].split("(", maxsplit=1)[0]
    probe.query(owner, how)
    try:
        yield
    finally:
        probe.query(owner, f"DROP FUNCTION {name} CASCADE")


def store_dead_letter(envelope: OutgoingEnvelope, keyring: Keyring = OURS, queue: str = "inventory") -> int:
    """Store an envelope as a message that the broker gave up in this queue; return the dead letter's id."""
    signature = keyring.sign(envelope.id, envelope.topic, envelope.signals, envelope.body)
    headers = {
        "task": envelope.topic,
        "id": envelope.id,
        "ordersaga-signals": envelope.signals,
        "ordersaga-signature": signature,
    }
    properties = {"routing_key": envelope.routing_key}
    keep(DeadMessage(queue, envelope.body, {**headers, "x-first-death-reason": "delivery_limit"}, properties))
    return DeadLetter.objects.latest("id").id


def test_a_resumed_saga_tries_its_failing_undo_at_once(in_process: InProcessSagas) -> None:
    probe, saga, rehearsal = (
        in_process.probe,
        in_process.factory.place("TEA", customer="poor"),
        in_process.rehearsal(),
    )
    with failing_database(probe, NO_RELEASE):
        while probe.saga(saga).attention is None:
            rehearsal.collect()
            rehearsal.deliver(rehearsal.queued[0])
        rehearsal.queued.clear()  # the row that would have retried the undo is lost

    resume_saga(UUID(saga), by="staff 1", reason="the worker is fixed")
    probe.query("orders", "UPDATE ordersaga_saga SET moved_at = now() - interval '1 day' WHERE id = %s", saga)
    rehearsal.run()

    probe.wait_until_rolled_back([saga], timeout=0)
    assert probe.audit_trail(saga).count("orders: resumed") == 1
    with pytest.raises(ActionRefused, match="has ended"):
        resume_saga(UUID(saga), by="staff 1", reason="once more")


def test_a_saga_in_progress_is_not_resumed(in_process: InProcessSagas) -> None:
    saga = in_process.factory.place("TEA")
    with pytest.raises(ActionRefused, match="does not need attention"):
        resume_saga(UUID(saga), by="staff 1", reason="to see")
    with pytest.raises(ActionRefused, match="reason: is missing"):
        resume_saga(UUID(saga), by="staff 1", reason="  ")
    in_process.rehearsal().run()
    in_process.probe.wait_until_confirmed([saga], timeout=0)


def test_a_dead_message_is_replayed_once_and_its_order_confirms(
    in_process: InProcessSagas,
) -> None:
    probe, saga, rehearsal = in_process.probe, in_process.factory.place("TEA"), in_process.rehearsal()
    [lost] = [
        queued
        for queued in deliver_all(rehearsal, but=to("inventory"))
        if queued.envelope.topic == "signal.OrderPlaced"
    ]
    rehearsal.queued.remove(lost)
    message = store_dead_letter(lost.envelope)

    assert (
        replay(message, by="staff 1", reason="the worker is fixed")
        == f"Dead letter {message}: 1 signal was sent to inventory."
    )
    with pytest.raises(ActionRefused, match="was already replayed by staff 1"):
        replay(message, by="staff 2", reason="me too")
    rehearsal.run()

    probe.wait_until_confirmed([saga], timeout=0)
    assert probe.ledger(saga) == [("charge", -450)]
    assert probe.audit_trail(saga).count("orders: sent again") == 1


def test_a_message_that_dies_twice_is_replayed_twice(
    in_process: InProcessSagas,
) -> None:
    saga, rehearsal = in_process.factory.place("TEA"), in_process.rehearsal()
    for _ in range(2):
        rehearsal.collect("orders")
        [lost] = rehearsal.waiting("inventory", "signal.OrderPlaced")
        rehearsal.queued.remove(lost)
        replay(store_dead_letter(lost.envelope), by="staff 1", reason="the worker is fixed")
    rehearsal.run()

    in_process.probe.wait_until_confirmed([saga], timeout=0)
    assert in_process.probe.audit_trail(saga).count("orders: sent again") == 2


@pytest.mark.parametrize("queue", ["audit", unheard_queue().name])
def test_a_dead_message_for_the_audit_is_replayed_to_it_alone(in_process: InProcessSagas, queue: str) -> None:
    probe, saga, rehearsal = in_process.probe, in_process.factory.place("TEA"), in_process.rehearsal()
    lost = deliver_all(rehearsal, but=to("audit"))
    rehearsal.queued.clear()
    probe.wait_until_confirmed([saga], timeout=0)
    assert probe.audit_trail(saga) == []

    for queued in lost:
        replay(store_dead_letter(queued.envelope, queue=queue), by="staff 1", reason="its database is back")
    rehearsal.collect()
    assert {queued.to for queued in rehearsal.queued} == {"audit"}
    rehearsal.run()

    probe.wait_until_clean(timeout=0)
    assert has_no_duplicates(probe.audit_trail(saga))


def test_a_foreign_message_for_the_audit_is_not_replayed(in_process: InProcessSagas) -> None:
    saga, rehearsal = in_process.factory.place("TEA"), in_process.rehearsal()
    lost, *_ = deliver_all(rehearsal, but=to("audit"))
    message = store_dead_letter(lost.envelope._replace(id=str(UUID(int=8))), FORGER, "audit")

    with pytest.raises(ActionRefused, match="not signed by this installation"):
        replay(message, by="staff 1", reason="looks fine")
    discard(message, by="staff 1", reason="forged")
    deliver_all(rehearsal)
    in_process.probe.wait_until_confirmed([saga], timeout=0)


def test_a_foreign_message_is_not_signed_again(in_process: InProcessSagas) -> None:
    saga, rehearsal = in_process.factory.place("TEA"), in_process.rehearsal()
    rehearsal.collect("orders")
    [queued] = rehearsal.waiting("inventory", "signal.OrderPlaced")
    message = store_dead_letter(queued.envelope._replace(id=str(UUID(int=7))), FORGER)

    with pytest.raises(ActionRefused, match="not signed by this installation"):
        replay(message, by="staff 1", reason="looks fine")
    assert DeadLetter.objects.get(id=message).outcome is None
    discard(message, by="staff 1", reason="forged")
    rehearsal.run()
    in_process.probe.wait_until_confirmed([saga], timeout=0)


def test_a_dead_letter_of_an_ended_saga_is_not_replayed(
    in_process: InProcessSagas,
) -> None:
    probe, sagas, rehearsal = (
        in_process.probe,
        [in_process.factory.place("TEA") for _ in range(2)],
        in_process.rehearsal(),
    )
    with failing_database(probe, NO_HOLD):
        deliver_all(rehearsal)
    probe.wait_until_rolled_back(sagas, timeout=0)
    first, second = (DeadLetter.objects.get(saga_id=saga).id for saga in sagas)

    with pytest.raises(ActionRefused, match="has ended"):
        replay(first, by="staff 1", reason="the shelf is there now")
    discard(first, by="staff 1", reason="known")
    with pytest.raises(ActionRefused, match="was already discarded by"):
        discard(first, by="staff 1", reason="known")
    deliver_all(rehearsal)

    state = "SELECT state FROM ordersaga_dead_letter WHERE saga_id = %s"
    assert [probe.query("inventory", state, saga) for saga in sagas] == [[("discarded",)], [("open",)]]
    assert probe.audit_trail(sagas[0]).count("inventory: dead letter discarded") == 1
    assert DeadLetter.objects.get(id=second).outcome is None
    assert in_process.probe.reservations(sagas[0]) == {}


def test_a_replay_while_the_saga_rolls_back_runs_nothing(in_process: InProcessSagas) -> None:
    probe, saga, rehearsal = in_process.probe, in_process.factory.place("TEA"), in_process.rehearsal()
    with failing_database(probe, NO_HOLD):
        waiting = deliver_all(rehearsal, but=to("payments", "refusal"))
    assert probe.saga(saga).status == "ROLLING_BACK"
    assert waiting

    replay(DeadLetter.objects.get(saga_id=saga).id, by="staff 1", reason="the shelf is there now")
    deliver_all(rehearsal)

    probe.wait_until_rolled_back([saga], timeout=0)
    assert probe.reservations(saga) == {}
    assert probe.journal(saga)["inventory.reserve_stock"] == "refused"
    assert "inventory: dead letter replayed" in probe.audit_trail(saga)
