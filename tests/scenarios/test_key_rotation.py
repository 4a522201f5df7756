"""The signing key is rotated while orders are in flight."""

from __future__ import annotations

from tests.support.amqp_client import NEXT_KEY, THIS_KEY
from tests.support.installation import Installation


def test_two_keys_are_accepted_while_one_signs(installation: Installation) -> None:
    with (
        installation.amqp.recording() as messages,
        installation.instead("inventory", env={"ORDERSAGA_SIGNING_KEYS": f"{NEXT_KEY},{THIS_KEY}"}),
    ):
        sagas = installation.factory.place_many(5)

        installation.probe.wait_until_confirmed(sagas)

    signed_with = {
        (
            message.properties["application_headers"]["task"],
            message.properties["application_headers"]["ordersaga-signature"][:4],
        )
        for message in messages
    }
    assert {
        ("signal.OrderPlaced", "this"),
        ("signal.StockReserved", "next"),
        ("signal.PaymentCharged", "this"),
        ("signal.StockShipped", "next"),
    } <= signed_with
