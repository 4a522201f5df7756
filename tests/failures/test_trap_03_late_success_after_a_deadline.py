from __future__ import annotations

from tests.support.in_process import InProcessSagas, deliver_all, to


def test_a_payment_after_the_deadline_is_refunded(in_process: InProcessSagas) -> None:
    saga = in_process.factory.place("TEA")
    rehearsal = in_process.rehearsal()
    deliver_all(rehearsal, but=to("orders", "PaymentCharged"))
    assert in_process.probe.ledger(saga) == [("charge", -450)]
    rehearsal.make_timers_due("deadline", saga)

    deliver_all(rehearsal, but=to("orders", "PaymentCharged"))
    rehearsal.run()

    in_process.probe.wait_until_rolled_back([saga], timeout=0)
    assert in_process.probe.saga(saga).refusal == "OrderExpired"
    assert in_process.probe.ledger(saga) == [("charge", -450), ("refund", 450)]
    assert in_process.probe.reservations(saga) == {"TEA": "released"}
    in_process.probe.wait_until_clean(timeout=0)


def test_a_step_after_the_sagas_end_is_barred(in_process: InProcessSagas) -> None:
    saga = in_process.factory.place("TEA")
    rehearsal = in_process.rehearsal()
    deliver_all(rehearsal, but=to("inventory", "OrderPlaced"))
    rehearsal.make_timers_due("deadline", saga)
    deliver_all(rehearsal, but=to("inventory", "OrderPlaced"))
    in_process.probe.wait_until_rolled_back([saga], timeout=0)

    rehearsal.run()

    assert in_process.probe.journal(saga)["inventory.reserve_stock"] == "barred"
    assert in_process.probe.reservations(saga) == {}
