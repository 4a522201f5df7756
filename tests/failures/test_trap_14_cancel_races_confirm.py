from __future__ import annotations

from threading import Barrier, Thread

from ordersaga.receiver import Receiver
from tests.support.in_process import Theatre, deliver_all, to


def test_whichever_comes_first_wins_and_the_loser_is_told(theatre: Theatre) -> None:
    shop, books = theatre.shop, theatre.books
    for winner, status, told in [
        ("Charged", "CONFIRMED", "too_late"),
        ("Cancel", "ROLLED_BACK", "cancelled"),
    ]:
        saga = shop.place("TEA")
        rehearsal = theatre.rehearsal()
        deliver_all(rehearsal, but=to("orders", "PaymentCharged"))
        shop.cancel(saga)
        rehearsal.collect()
        rivals = [mail for mail in rehearsal.mail if mail.to == "orders"]
        assert len(rivals) == 2

        rehearsal.deliver(next(mail for mail in rivals if winner in mail.envelope.topic))
        rehearsal.run()

        assert (books.saga(saga).status, shop.told(saga)) == (status, told)


def test_both_at_the_same_moment_in_two_threads(theatre: Theatre) -> None:
    shop, books = theatre.shop, theatre.books
    sagas = shop.place_many(8)
    rehearsal = theatre.rehearsal()
    deliver_all(rehearsal, but=to("orders", "PaymentCharged"))
    for saga in sagas:
        shop.cancel(saga)
    deliver_all(rehearsal, but=to("orders"))
    rivals = [mail for mail in rehearsal.mail if mail.to == "orders"]
    receiver = Receiver(theatre.choreography.participants["orders"], theatre.choreography)
    start = Barrier(2)

    def deliver(half: str) -> None:
        start.wait()
        for mail in rivals:
            if half in mail.envelope.topic:
                receiver.receive(mail.envelope.topic, mail.envelope.body)

    threads = [Thread(target=deliver, args=(half,)) for half in ("Charged", "Cancel")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rehearsal.mail.clear()
    rehearsal.run()

    books.all_ended(sagas, timeout=0)
    expected = {"CONFIRMED": "too_late", "ROLLED_BACK": "cancelled"}
    assert all(shop.told(saga) == expected[books.saga(saga).status] for saga in sagas)
    books.are_clean(timeout=0)
