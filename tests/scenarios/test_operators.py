"""Operators step in: a saga is resumed, dead letters are replayed and discarded. Real participants, mail by
hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from ordersaga.celery.dead_letters import DeadMessage
from ordersaga.celery.topology import unheard_queue
from ordersaga.claim import OutgoingEnvelope
from ordersaga.signing import Keyring
from tests.support.db_probe import Books, once
from tests.support.in_process import Theatre, deliver_all, to
from webapp.audit.models import DeadLetter
from webapp.audit.services import discard, replay
from webapp.operators import ActRefused
from webapp.orders.services import resume_saga
from workers.audit.dead_letters import keep
from workers.settings import settings

OURS = Keyring.parse(settings().signing_keys)
FORGER = Keyring([("sample", b"a secret of somebody else's")])
NO_RELEASE = """
CREATE FUNCTION no_release() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the door is stuck'; END $$;
CREATE TRIGGER no_release BEFORE UPDATE ON reservation FOR EACH ROW WHEN (NEW.state = 'released') EXECUTE FUNCTION no_release();
"""
NO_HOLD = """
CREATE FUNCTION no_hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no shelf'; END $$;
CREATE TRIGGER no_hold BEFORE INSERT ON reservation FOR EACH ROW EXECUTE FUNCTION no_hold();
"""


@contextmanager
def broken(books: Books, how: str, owner: str = "inventory") -> Iterator[None]:
    """While it lasts, a database refuses; ``how`` names trigger and function alike."""
    name = how.split("FUNCTION ")[1].split("(", maxsplit=1)[0]
    books.ask(owner, how)
    try:
        yield
    finally:
        books.ask(owner, f"DROP FUNCTION {name} CASCADE")


def died(envelope: OutgoingEnvelope, keyring: Keyring = OURS, queue: str = "inventory") -> int:
    """The broker gives an envelope up in this queue; the id of its dead letter."""
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


def test_a_resumed_saga_tries_its_failing_undo_at_once(theatre: Theatre) -> None:
    books, saga, rehearsal = theatre.books, theatre.shop.place("TEA", customer="poor"), theatre.rehearsal()
    with broken(books, NO_RELEASE):
        while books.saga(saga).attention is None:
            rehearsal.collect()
            rehearsal.deliver(rehearsal.mail[0])
        rehearsal.mail.clear()  # the row that would have retried the undo is lost

    resume_saga(UUID(saga), by="staff 1", reason="the door is mended")
    books.ask("orders", "UPDATE ordersaga_saga SET moved_at = now() - interval '1 day' WHERE id = %s", saga)
    rehearsal.run()

    books.all_rolled_back([saga], timeout=0)
    assert books.trail(saga).count("orders: resumed") == 1
    with pytest.raises(ActRefused, match="has ended"):
        resume_saga(UUID(saga), by="staff 1", reason="once more")


def test_a_saga_that_goes_well_is_not_resumed(theatre: Theatre) -> None:
    saga = theatre.shop.place("TEA")
    with pytest.raises(ActRefused, match="needs no attention"):
        resume_saga(UUID(saga), by="staff 1", reason="to see")
    with pytest.raises(ActRefused, match="reason: is missing"):
        resume_saga(UUID(saga), by="staff 1", reason="  ")
    theatre.rehearsal().run()
    theatre.books.all_confirmed([saga], timeout=0)


def test_a_message_that_died_at_the_broker_is_replayed_once_and_its_order_confirms(theatre: Theatre) -> None:
    books, saga, rehearsal = theatre.books, theatre.shop.place("TEA"), theatre.rehearsal()
    [lost] = [
        mail
        for mail in deliver_all(rehearsal, but=to("inventory"))
        if mail.envelope.topic == "signal.OrderPlaced"
    ]
    rehearsal.mail.remove(lost)
    letter = died(lost.envelope)

    assert (
        replay(letter, by="staff 1", reason="the worker is mended")
        == f"Dead letter {letter}: 1 signal goes to inventory."
    )
    with pytest.raises(ActRefused, match="was replayed before, by staff 1"):
        replay(letter, by="staff 2", reason="me too")
    rehearsal.run()

    books.all_confirmed([saga], timeout=0)
    assert books.money(saga) == [("charge", -450)]
    assert books.trail(saga).count("orders: sent again") == 1


def test_a_message_that_dies_again_is_replayed_again_and_both_replays_are_told(theatre: Theatre) -> None:
    saga, rehearsal = theatre.shop.place("TEA"), theatre.rehearsal()
    for _ in range(2):
        rehearsal.collect("orders")
        [lost] = rehearsal.waiting("inventory", "signal.OrderPlaced")
        rehearsal.mail.remove(lost)
        replay(died(lost.envelope), by="staff 1", reason="the worker is mended")
    rehearsal.run()

    theatre.books.all_confirmed([saga], timeout=0)
    assert theatre.books.trail(saga).count("orders: sent again") == 2


@pytest.mark.parametrize("queue", ["audit", unheard_queue().name])
def test_what_died_on_its_way_to_the_audit_is_replayed_to_the_audit_alone(
    theatre: Theatre, queue: str
) -> None:
    books, saga, rehearsal = theatre.books, theatre.shop.place("TEA"), theatre.rehearsal()
    lost = deliver_all(rehearsal, but=to("audit"))
    rehearsal.mail.clear()
    books.all_confirmed([saga], timeout=0)
    assert books.trail(saga) == []

    for mail in lost:
        replay(died(mail.envelope, queue=queue), by="staff 1", reason="its database is back")
    rehearsal.collect()
    assert {mail.to for mail in rehearsal.mail} == {"audit"}
    rehearsal.run()

    books.are_clean(timeout=0)
    assert once(books.trail(saga))


def test_what_died_in_the_audits_queue_and_is_not_ours_is_not_replayed(theatre: Theatre) -> None:
    saga, rehearsal = theatre.shop.place("TEA"), theatre.rehearsal()
    lost, *_ = deliver_all(rehearsal, but=to("audit"))
    letter = died(lost.envelope._replace(id=str(UUID(int=8))), FORGER, "audit")

    with pytest.raises(ActRefused, match="not one of our messages"):
        replay(letter, by="staff 1", reason="looks fine")
    discard(letter, by="staff 1", reason="forged")
    deliver_all(rehearsal)
    theatre.books.all_confirmed([saga], timeout=0)


def test_what_is_not_ours_is_not_signed_anew(theatre: Theatre) -> None:
    saga, rehearsal = theatre.shop.place("TEA"), theatre.rehearsal()
    rehearsal.collect("orders")
    [mail] = rehearsal.waiting("inventory", "signal.OrderPlaced")
    letter = died(mail.envelope._replace(id=str(UUID(int=7))), FORGER)

    with pytest.raises(ActRefused, match="not one of our messages"):
        replay(letter, by="staff 1", reason="looks fine")
    assert DeadLetter.objects.get(id=letter).outcome is None
    discard(letter, by="staff 1", reason="forged")
    rehearsal.run()
    theatre.books.all_confirmed([saga], timeout=0)


def test_a_participants_dead_letter_is_settled_by_the_participant_and_what_has_ended_is_not_revived(
    theatre: Theatre,
) -> None:
    books, sagas, rehearsal = (
        theatre.books,
        [theatre.shop.place("TEA") for _ in range(2)],
        theatre.rehearsal(),
    )
    with broken(books, NO_HOLD):
        deliver_all(rehearsal)
    books.all_rolled_back(sagas, timeout=0)
    first, second = (DeadLetter.objects.get(saga_id=saga).id for saga in sagas)

    with pytest.raises(ActRefused, match="has ended"):
        replay(first, by="staff 1", reason="the shelf is there now")
    discard(first, by="staff 1", reason="known")
    with pytest.raises(ActRefused, match="was discarded before"):
        discard(first, by="staff 1", reason="known")
    deliver_all(rehearsal)

    state = "SELECT state FROM ordersaga_dead_letter WHERE saga_id = %s"
    assert [books.ask("inventory", state, saga) for saga in sagas] == [[("discarded",)], [("open",)]]
    assert books.trail(sagas[0]).count("inventory: dead letter discarded") == 1
    assert DeadLetter.objects.get(id=second).outcome is None
    assert theatre.books.goods(sagas[0]) == {}


def test_a_letter_replayed_while_its_saga_rolls_back_runs_nothing(theatre: Theatre) -> None:
    books, saga, rehearsal = theatre.books, theatre.shop.place("TEA"), theatre.rehearsal()
    with broken(books, NO_HOLD):
        waiting = deliver_all(rehearsal, but=to("payments", "refusal"))
    assert books.saga(saga).status == "ROLLING_BACK"
    assert waiting

    replay(DeadLetter.objects.get(saga_id=saga).id, by="staff 1", reason="the shelf is there now")
    deliver_all(rehearsal)

    books.all_rolled_back([saga], timeout=0)
    assert books.goods(saga) == {}
    assert books.journal(saga)["inventory.reserve_stock"] == "refused"
    assert "inventory: dead letter replayed" in books.trail(saga)
