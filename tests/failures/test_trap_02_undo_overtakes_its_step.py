from __future__ import annotations

from tests.support.in_process import Theatre, deliver_all, to


def test_a_charge_that_comes_after_its_refund_takes_nothing_and_says_nothing(theatre: Theatre) -> None:
    saga = theatre.shop.place("TEA")
    rehearsal = theatre.rehearsal()
    [late] = deliver_all(rehearsal, but=to("payments", "StockReserved"))
    theatre.shop.cancel(saga)
    assert deliver_all(rehearsal, but=to("payments", "StockReserved")) == [late]
    theatre.books.all_rolled_back([saga], timeout=0)

    rehearsal.run()

    assert theatre.books.money(saga) == []
    assert theatre.books.journal(saga)["payments.charge"] == "barred"
    assert "payments: PaymentCharged" not in theatre.books.trail(saga)
    assert theatre.books.trail(saga).count("payments: answer") == 2
    theatre.books.are_clean(timeout=0)
