from __future__ import annotations

from tests.support.in_process import Theatre, deliver_all, to


def test_money_that_arrives_after_the_order_has_expired_is_given_back(theatre: Theatre) -> None:
    saga = theatre.shop.place("TEA")
    rehearsal = theatre.rehearsal()
    deliver_all(rehearsal, but=to("orders", "PaymentCharged"))
    assert theatre.books.money(saga) == [("charge", -450)]
    rehearsal.due("deadline", saga)

    deliver_all(rehearsal, but=to("orders", "PaymentCharged"))
    rehearsal.run()

    theatre.books.all_rolled_back([saga], timeout=0)
    assert theatre.books.saga(saga).refusal == "OrderExpired"
    assert theatre.books.money(saga) == [("charge", -450), ("refund", 450)]
    assert theatre.books.goods(saga) == {"TEA": "released"}
    theatre.books.are_clean(timeout=0)


def test_a_step_that_turns_up_after_the_end_is_barred_and_not_unknown(theatre: Theatre) -> None:
    saga = theatre.shop.place("TEA")
    rehearsal = theatre.rehearsal()
    deliver_all(rehearsal, but=to("inventory", "OrderPlaced"))
    rehearsal.due("deadline", saga)
    deliver_all(rehearsal, but=to("inventory", "OrderPlaced"))
    theatre.books.all_rolled_back([saga], timeout=0)

    rehearsal.run()

    assert theatre.books.journal(saga)["inventory.reserve_stock"] == "barred"
    assert theatre.books.goods(saga) == {}
