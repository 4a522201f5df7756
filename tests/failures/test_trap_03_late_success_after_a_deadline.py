from __future__ import annotations

from tests.support.in_process import InProcessSagas, deliver_all, to


def test_money_that_arrives_after_the_order_has_expired_is_given_back(in_process: InProcessSagas) -> None:
    saga = in_process.factory.place("TEA")
    rehearsal = in_process.rehearsal()
    deliver_all(rehearsal, but=to("orders", "PaymentCharged"))
    assert in_process.probe.ledger(saga) == [("charge", -450)]
    rehearsal.due("deadline", saga)

    deliver_all(rehearsal, but=to("orders", "PaymentCharged"))
    rehearsal.run()

    in_process.probe.wait_until_rolled_back([saga], timeout=0)
    assert in_process.probe.saga(saga).refusal == "OrderExpired"
    assert in_process.probe.ledger(saga) == [("charge", -450), ("refund", 450)]
    assert in_process.probe.reservations(saga) == {"TEA": "released"}
    in_process.probe.wait_until_clean(timeout=0)


def test_a_step_that_turns_up_after_the_end_is_barred_and_not_unknown(in_process: InProcessSagas) -> None:
    saga = in_process.factory.place("TEA")
    rehearsal = in_process.rehearsal()
    deliver_all(rehearsal, but=to("inventory", "OrderPlaced"))
    rehearsal.due("deadline", saga)
    deliver_all(rehearsal, but=to("inventory", "OrderPlaced"))
    in_process.probe.wait_until_rolled_back([saga], timeout=0)

    rehearsal.run()

    assert in_process.probe.journal(saga)["inventory.reserve_stock"] == "barred"
    assert in_process.probe.reservations(saga) == {}
