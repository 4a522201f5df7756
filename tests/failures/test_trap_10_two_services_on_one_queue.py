from __future__ import annotations

from tests.support.installation import Installation


def test_a_refusal_reaches_every_participants_own_queue(installation: Installation) -> None:
    saga = installation.factory.place("TEA", customer="poor")

    installation.probe.wait_until_rolled_back([saga])
    installation.probe.wait_until_clean()

    bound = {step for step, state in installation.probe.journal(saga).items() if state == "heard"}
    assert bound == {"orders.refusal", "inventory.refusal", "payments.refusal"}
    assert "payments: PaymentDeclined" in installation.probe.audit_trail(saga)
    queues = installation.rabbitmq.queues(installation.vhost)
    assert {"orders", "inventory", "payments", "audit"} <= queues.keys()
    # Both processes of inventory consume one queue: they share its messages, and take no other participant's.
    assert (queues["inventory"].consumers, queues["payments"].consumers) == (2, 1)
