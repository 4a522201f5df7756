from __future__ import annotations

from ordersaga.receiver import Delivery, Receiver
from tests.support.house import House
from tests.support.polling import eventually
from tests.support.theatre import Theatre
from tests.support.unruly.goods import FAILS, KILLS


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
    [envelope] = [mail.parcel for mail in rehearsal.mail if mail.to == "inventory"]
    rehearsal.mail.clear()
    assert envelope.signals == 10

    inventory.receive(envelope.topic, envelope.body, Delivery(redeliveries=2))
    rehearsal.collect()

    assert [(mail.to, mail.parcel.signals) for mail in rehearsal.mail] == [("inventory", 1)] * 10
    rehearsal.run()
    theatre.books.all_confirmed(sagas, timeout=0)


def test_one_that_kills_workers_dies_at_the_broker_and_its_order_is_left_to_the_deadline(house: House) -> None:
    poison = house.shop.place(KILLS)
    after = house.shop.place_many(5)

    house.books.all_confirmed(after)
    [letter] = eventually(lambda: house.books.desk(poison), 120, "the dead letter")
    assert (letter.source, letter.participant, letter.error) == ("broker", "inventory", "delivery_limit")
    assert house.books.saga(poison).status == "PENDING"
    house.books.ask("orders", "UPDATE ordersaga_outbox SET due_at = now() WHERE saga_id = %s AND kind = 'deadline'", poison)
    house.books.all_rolled_back([poison])
    assert house.books.saga(poison).refusal == "OrderExpired"
    assert house.books.journal(poison)["inventory.reserve_stock"] == "barred"
