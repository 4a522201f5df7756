from __future__ import annotations

from ordersaga.receiver import Delivery, Receiver
from tests.support.fault_injection.skus import FAILS, KILLS
from tests.support.in_process import InProcessSagas
from tests.support.installation import Installation
from tests.support.order_factory import ASLEEP, OrderFactory
from tests.support.polling import eventually

DEADLINE_NOW = "UPDATE ordersaga_outbox SET due_at = now() WHERE saga_id = %s AND kind = 'deadline'"


def test_a_signal_that_always_raises_becomes_a_dead_letter(installation: Installation) -> None:
    poison = installation.factory.place(FAILS)
    after = installation.factory.place_many(5)

    installation.probe.wait_until_confirmed(after)
    installation.probe.wait_until_rolled_back([poison])
    assert "InjectedFault" in installation.probe.participant_dead_letters("inventory", poison)[0][1]


def test_a_redelivered_envelope_is_split_and_stays_split(
    in_process: InProcessSagas,
) -> None:
    sagas = in_process.factory.place_many(10)
    rehearsal = in_process.rehearsal()
    rehearsal.collect()
    inventory = Receiver(in_process.choreography.participants["inventory"], in_process.choreography)
    [queued] = [queued for queued in rehearsal.queued if queued.to == "inventory"]
    rehearsal.queued.remove(queued)
    envelope = queued.envelope
    assert envelope.signals == 10

    inventory.receive(envelope.topic, envelope.body, Delivery(redeliveries=2))
    rehearsal.collect()

    assert [queued.envelope.signals for queued in rehearsal.queued if queued.to == "inventory"] == [1] * 10
    rehearsal.run()
    in_process.probe.wait_until_confirmed(sagas, timeout=0)


def test_a_signal_that_kills_workers_is_dead_lettered_alone(
    installation: Installation,
) -> None:
    with installation.instead("inventory", concurrency=2) as [inventory]:
        poison, *innocent = OrderFactory(installation.databases, watchdog=ASLEEP).place_all(
            [[KILLS], *[["TEA"]] * 9]
        )

        installation.probe.wait_until_confirmed(innocent)

        [dead_letter] = eventually(lambda: installation.probe.dead_letters(poison), 120, "the dead letter")
        assert (dead_letter.source, dead_letter.participant, dead_letter.error) == (
            "broker",
            "inventory",
            "delivery_limit",
        )
        assert all(installation.probe.dead_letters(saga) == [] for saga in innocent)
        assert inventory.process.alive
        assert installation.probe.saga(poison).status == "PENDING"
        installation.probe.query("orders", DEADLINE_NOW, poison)
        installation.probe.wait_until_rolled_back([poison])
    assert installation.probe.saga(poison).refusal == "OrderExpired"
    assert installation.probe.journal(poison)["inventory.reserve_stock"] == "barred"
