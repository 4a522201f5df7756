from __future__ import annotations

from tests.support.in_process import InProcessSagas, deliver_all, to


def test_uncertain_stock_is_visible_as_reserved_and_not_as_sold(
    in_process: InProcessSagas,
) -> None:
    factory, probe = in_process.factory, in_process.probe
    factory.add_product("ONLY", 1)
    rehearsal = in_process.rehearsal()
    first = factory.place("ONLY")
    deliver_all(rehearsal, but=to("payments", "StockReserved"))

    assert probe.stock_counters("ONLY") == {"on_hand": 0, "held": 1, "sold": 0}
    assert probe.saga(first).status == "PENDING"
    second = factory.place("ONLY")
    deliver_all(rehearsal, but=to("payments", "StockReserved"))
    assert probe.saga(second).reason == "Out of stock: ONLY"

    factory.cancel(first)
    deliver_all(rehearsal, but=to("payments", "StockReserved"))
    rehearsal.run()
    assert probe.stock_counters("ONLY") == {"on_hand": 1, "held": 0, "sold": 0}
    third = factory.place("ONLY")
    rehearsal.run()
    probe.wait_until_confirmed([third], timeout=0)
    assert probe.stock_counters("ONLY") == {"on_hand": 0, "held": 0, "sold": 1}
