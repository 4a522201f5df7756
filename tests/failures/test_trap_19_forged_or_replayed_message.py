from __future__ import annotations

from typing import Any

from tests.support.installation import Installation
from tests.support.polling import eventually


def test_a_signature_is_not_valid_for_another_topic(installation: Installation) -> None:
    with installation.amqp.recording() as messages:
        saga = installation.factory.place("TEA")
        installation.probe.wait_until_confirmed([saga])
    genuine = next(message for message in messages if _header(message, "task") == "signal.StockReserved")
    dead = len(installation.probe.dead_letters())

    genuine.properties["application_headers"]["task"] = "refusal.StockReserved"
    installation.amqp.deliver(genuine, "payments")

    eventually(lambda: len(installation.probe.dead_letters()) == dead + 1, 30, "the dead letter")
    assert installation.probe.saga(saga).status == "CONFIRMED"


def test_a_replay_is_harmless(installation: Installation) -> None:
    with installation.amqp.recording() as messages:
        saga = installation.factory.place("TEA")
        installation.probe.wait_until_confirmed([saga])
        installation.probe.wait_until_clean()
    story = installation.probe.audit_trail(saga)

    for message in list(messages):
        for name in ("orders", "inventory", "payments", "audit"):
            if _is_consumed_by(message, name):
                installation.amqp.deliver(message, name)
    installation.probe.wait_until_confirmed([installation.factory.place("TEA")])

    eventually(
        lambda: not any(installation.rabbitmq.unsettled(installation.vhost).values()), 30, "all queues empty"
    )
    assert installation.probe.audit_trail(saga) == story
    assert installation.probe.ledger(saga) == [("charge", -450)]
    assert installation.probe.movements(saga) == [("TEA", "held", 1), ("TEA", "shipped", 1)]


def _header(message: Any, name: str) -> Any:
    return message.properties["application_headers"][name]


def _is_consumed_by(message: Any, name: str) -> bool:
    consumes = {
        "signal.OrderPlaced": {"inventory"},
        "signal.StockReserved": {"payments"},
        "signal.PaymentCharged": {"orders"},
        "signal.OrderConfirmed": {"inventory"},
        "signal.StockShipped": {"orders"},
    }
    return name == "audit" or name in consumes.get(_header(message, "task"), set())
