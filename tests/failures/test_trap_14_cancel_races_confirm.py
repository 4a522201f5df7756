from __future__ import annotations

from threading import Barrier, Thread

from ordersaga.receiver import Receiver
from tests.support.in_process import InProcessSagas, deliver_all, to


def test_the_first_of_cancel_and_confirm_wins(in_process: InProcessSagas) -> None:
    factory, probe = in_process.factory, in_process.probe
    for winner, status, outcome in [
        ("Charged", "CONFIRMED", "too_late"),
        ("Cancel", "ROLLED_BACK", "cancelled"),
    ]:
        saga = factory.place("TEA")
        rehearsal = in_process.rehearsal()
        deliver_all(rehearsal, but=to("orders", "PaymentCharged"))
        factory.cancel(saga)
        rehearsal.collect()
        rivals = [queued for queued in rehearsal.queued if queued.to == "orders"]
        assert len(rivals) == 2

        rehearsal.deliver(next(queued for queued in rivals if winner in queued.envelope.topic))
        rehearsal.run()

        assert (probe.saga(saga).status, factory.cancel_outcome(saga)) == (status, outcome)


def test_cancel_and_confirm_run_in_two_threads(in_process: InProcessSagas) -> None:
    factory, probe = in_process.factory, in_process.probe
    sagas = factory.place_many(8)
    rehearsal = in_process.rehearsal()
    deliver_all(rehearsal, but=to("orders", "PaymentCharged"))
    for saga in sagas:
        factory.cancel(saga)
    deliver_all(rehearsal, but=to("orders"))
    rivals = [queued for queued in rehearsal.queued if queued.to == "orders"]
    receiver = Receiver(in_process.choreography.participants["orders"], in_process.choreography)
    start = Barrier(2)

    def deliver(half: str) -> None:
        start.wait()
        for queued in rivals:
            if half in queued.envelope.topic:
                receiver.receive(queued.envelope.topic, queued.envelope.body)

    threads = [Thread(target=deliver, args=(half,)) for half in ("Charged", "Cancel")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rehearsal.queued.clear()
    rehearsal.run()

    probe.wait_until_ended(sagas, timeout=0)
    expected = {"CONFIRMED": "too_late", "ROLLED_BACK": "cancelled"}
    assert all(factory.cancel_outcome(saga) == expected[probe.saga(saga).status] for saga in sagas)
    probe.wait_until_clean(timeout=0)
