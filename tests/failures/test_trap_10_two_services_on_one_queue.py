from __future__ import annotations

from tests.support.installation import House


def test_one_refusal_reaches_every_participant_by_a_queue_of_its_own(house: House) -> None:
    saga = house.shop.place("TEA", customer="poor")

    house.books.all_rolled_back([saga])
    house.books.are_clean()

    heard = {step for step, state in house.books.journal(saga).items() if state == "heard"}
    assert heard == {"orders.refusal", "inventory.refusal", "payments.refusal"}
    assert "payments: PaymentDeclined" in house.books.trail(saga)
    queues = house.rabbitmq.queues(house.vhost)
    assert {"orders", "inventory", "payments", "audit"} <= queues.keys()
    # both processes of inventory at the same queue: they share its messages, and take nobody else's
    assert (queues["inventory"].consumers, queues["payments"].consumers) == (2, 1)
