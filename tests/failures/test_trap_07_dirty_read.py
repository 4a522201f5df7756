from __future__ import annotations

from tests.support.in_process import Theatre, deliver_all, to


def test_what_may_be_rolled_back_is_seen_by_others_as_reserved_and_never_as_sold(theatre: Theatre) -> None:
    shop, books = theatre.shop, theatre.books
    shop.stock("ONLY", 1)
    rehearsal = theatre.rehearsal()
    first = shop.place("ONLY")
    deliver_all(rehearsal, but=to("payments", "StockReserved"))

    assert books.product("ONLY") == {"on_hand": 0, "held": 1, "sold": 0}
    assert books.saga(first).status == "PENDING"
    second = shop.place("ONLY")
    deliver_all(rehearsal, but=to("payments", "StockReserved"))
    assert books.saga(second).reason == "Out of stock: ONLY"

    shop.cancel(first)
    deliver_all(rehearsal, but=to("payments", "StockReserved"))
    rehearsal.run()
    assert books.product("ONLY") == {"on_hand": 1, "held": 0, "sold": 0}
    third = shop.place("ONLY")
    rehearsal.run()
    books.all_confirmed([third], timeout=0)
    assert books.product("ONLY") == {"on_hand": 0, "held": 0, "sold": 1}
