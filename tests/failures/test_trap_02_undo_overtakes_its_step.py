from __future__ import annotations

from tests.support.in_process import InProcessSagas, deliver_all, to


def test_a_charge_after_its_refund_has_no_effect_and_emits_nothing(
    in_process: InProcessSagas,
) -> None:
    saga = in_process.factory.place("TEA")
    rehearsal = in_process.rehearsal()
    [late] = deliver_all(rehearsal, but=to("payments", "StockReserved"))
    in_process.factory.cancel(saga)
    assert deliver_all(rehearsal, but=to("payments", "StockReserved")) == [late]
    in_process.probe.wait_until_rolled_back([saga], timeout=0)

    rehearsal.run()

    assert in_process.probe.ledger(saga) == []
    assert in_process.probe.journal(saga)["payments.charge"] == "barred"
    assert "payments: PaymentCharged" not in in_process.probe.audit_trail(saga)
    assert in_process.probe.audit_trail(saga).count("payments: answer") == 2
    in_process.probe.wait_until_clean(timeout=0)
