from __future__ import annotations

from ordersaga.receiver import Delivery, Receiver
from tests.support.fault_injection.goods import FAILS, KILLS
from tests.support.in_process import Theatre
from tests.support.installation import House
from tests.support.order_factory import ASLEEP, Shop
from tests.support.polling import eventually

DEADLINE_NOW = "UPDATE ordersaga_outbox SET due_at = now() WHERE saga_id = %s AND kind = 'deadline'"


def test_a_signal_that_always_raises_leaves_by_the_error_path(house: House) -> None:
    poison = house.shop.place(FAILS)
    after = house.shop.place_many(5)

    house.books.all_confirmed(after)
    house.books.all_rolled_back([poison])
    assert "Unruly" in house.books.dead_letters("inventory", poison)[0][1]


def test_an_envelope_that_keeps_coming_back_is_taken_apart_and_stays_apart(theatre: Theatre) -> None:
    sagas = theatre.shop.place_many(10)
    rehearsal = theatre.rehearsal()
    rehearsal.collect()
    inventory = Receiver(theatre.choreography.participants["inventory"], theatre.choreography)
    [mail] = [mail for mail in rehearsal.mail if mail.to == "inventory"]
    rehearsal.mail.remove(mail)
    envelope = mail.envelope
    assert envelope.signals == 10

    inventory.receive(envelope.topic, envelope.body, Delivery(redeliveries=2))
    rehearsal.collect()

    assert [mail.envelope.signals for mail in rehearsal.mail if mail.to == "inventory"] == [1] * 10
    rehearsal.run()
    theatre.books.all_confirmed(sagas, timeout=0)


def test_a_signal_that_kills_dies_at_the_broker_alone_and_its_order_is_left_to_the_deadline(
    house: House,
) -> None:
    with house.instead("inventory", concurrency=2) as [inventory]:
        poison, *innocent = Shop(house.databases, watchdog=ASLEEP).place_all([[KILLS], *[["TEA"]] * 9])

        house.books.all_confirmed(innocent)

        [letter] = eventually(lambda: house.books.desk(poison), 120, "the dead letter")
        assert (letter.source, letter.participant, letter.error) == ("broker", "inventory", "delivery_limit")
        assert all(house.books.desk(saga) == [] for saga in innocent)
        assert inventory.process.alive
        assert house.books.saga(poison).status == "PENDING"
        house.books.ask("orders", DEADLINE_NOW, poison)
        house.books.all_rolled_back([poison])
    assert house.books.saga(poison).refusal == "OrderExpired"
    assert house.books.journal(poison)["inventory.reserve_stock"] == "barred"
