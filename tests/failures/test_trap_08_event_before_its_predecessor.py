from __future__ import annotations

from tests.support.in_process import Theatre, deliver_all, to


def test_answers_that_overtake_the_refusal_they_answer_are_kept(theatre: Theatre) -> None:
    saga = theatre.shop.place("TEA", customer="poor")
    rehearsal = theatre.rehearsal()

    [refusal] = deliver_all(rehearsal, but=to("orders", "PaymentDeclined"))

    assert theatre.books.saga(saga).status == "PENDING"
    assert theatre.books.answers(saga) == {"inventory", "payments"}
    rehearsal.deliver(refusal)
    theatre.books.all_rolled_back([saga], timeout=0)


def test_a_refusal_that_overtakes_the_order_itself_is_not_dropped_as_unknown(theatre: Theatre) -> None:
    saga = theatre.shop.place("TEA")
    theatre.shop.cancel(saga)
    rehearsal = theatre.rehearsal()

    [order_placed] = deliver_all(rehearsal, but=to("inventory", "OrderPlaced"))
    theatre.books.all_rolled_back([saga], timeout=0)
    rehearsal.deliver(order_placed)
    rehearsal.run()

    assert theatre.books.goods(saga) == {}
    theatre.books.are_clean(timeout=0)
