from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from tests.support.db_probe import DatabaseProbe
from tests.support.in_process import InProcessSagas, deliver_all, to
from tests.support.time_scale import scaled

NO_REFUNDS = """
CREATE FUNCTION no_refunds() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'refunding fails'; END $$;
CREATE TRIGGER no_refunds BEFORE INSERT ON ledger_transaction FOR EACH ROW WHEN (NEW.kind = 'refund')
    EXECUTE FUNCTION no_refunds();
"""
WAIT = """
SELECT extract(epoch FROM due_at - created_at)::float
FROM ordersaga_outbox WHERE kind = 'retry' AND participant = 'payments'
"""


@contextmanager
def failing_refunds(probe: DatabaseProbe) -> Iterator[None]:
    probe.query("payments", NO_REFUNDS)
    try:
        yield
    finally:
        probe.query("payments", "DROP TRIGGER no_refunds ON ledger_transaction")


def test_a_failing_refund_is_retried_until_it_succeeds(in_process: InProcessSagas) -> None:
    probe, saga = in_process.probe, in_process.factory.place("TEA")
    rehearsal = in_process.rehearsal()
    deliver_all(rehearsal, but=to("orders", "PaymentCharged"))
    rehearsal.queued.clear()
    in_process.factory.cancel(saga)

    waits: list[float] = []
    with failing_refunds(probe):
        while probe.saga(saga).attention is None:
            while rehearsal.collect(retries=False) or rehearsal.queued:
                rehearsal.deliver(rehearsal.queued[0])
            [(wait,)] = probe.query("payments", WAIT)
            waits.append(wait)
            assert len(waits) < 10
            rehearsal.collect()

    assert (
        0.8 <= waits[0] <= 1.2 + scaled(0.1)
    )  # counted from the beginning of the transaction that wrote the row
    assert all(1.0 < longer / shorter < 4.0 for shorter, longer in pairwise(waits)), waits
    assert str(probe.saga(saga).attention).startswith("undo of payments.charge keeps failing")
    assert "SQLSTATE P0001" in str(
        probe.saga(saga).attention
    )  # the exception's type; its message may contain data of the step
    assert probe.saga(saga).status == "ROLLING_BACK"

    rehearsal.run()
    probe.wait_until_rolled_back([saga], timeout=0)
    assert probe.saga(saga).attention is None
    assert probe.ledger(saga) == [("charge", -450), ("refund", 450)]
    probe.wait_until_clean(timeout=0)
