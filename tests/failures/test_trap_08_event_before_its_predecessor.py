from __future__ import annotations

from tests.support.in_process import InProcessSagas, deliver_all, to


def test_answers_that_overtake_their_refusal_are_kept(in_process: InProcessSagas) -> None:
    saga = in_process.factory.place("TEA", customer="poor")
    rehearsal = in_process.rehearsal()

    [refusal] = deliver_all(rehearsal, but=to("orders", "PaymentDeclined"))

    assert in_process.probe.saga(saga).status == "PENDING"
    assert in_process.probe.answers(saga) == {"inventory", "payments"}
    rehearsal.deliver(refusal)
    in_process.probe.wait_until_rolled_back([saga], timeout=0)


def test_a_refusal_that_overtakes_the_order_is_kept(
    in_process: InProcessSagas,
) -> None:
    saga = in_process.factory.place("TEA")
    in_process.factory.cancel(saga)
    rehearsal = in_process.rehearsal()

    [order_placed] = deliver_all(rehearsal, but=to("inventory", "OrderPlaced"))
    in_process.probe.wait_until_rolled_back([saga], timeout=0)
    rehearsal.deliver(order_placed)
    rehearsal.run()

    assert in_process.probe.reservations(saga) == {}
    in_process.probe.wait_until_clean(timeout=0)
