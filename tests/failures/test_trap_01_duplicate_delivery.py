from __future__ import annotations

from tests.support.installation import Installation


def test_tripled_messages_charge_the_customer_once(installation: Installation) -> None:
    with installation.amqp.duplicating(2):
        saga = installation.factory.place("TEA")
        installation.probe.wait_until_confirmed([saga])
        installation.probe.wait_until_clean()

    assert installation.probe.ledger(saga) == [("charge", -450)]
    assert installation.probe.movements(saga) == [("TEA", "held", 1), ("TEA", "shipped", 1)]
    assert installation.probe.audit_trail(saga).count("payments: PaymentCharged") == 1
