"""The key that signs is changed while orders are under way."""

from __future__ import annotations

from tests.support.amqp_client import NEXT_KEY, THIS_KEY
from tests.support.installation import House


def test_two_keys_are_accepted_while_one_signs(house: House) -> None:
    with (
        house.mail.overheard() as letters,
        house.instead("inventory", env={"ORDERSAGA_SIGNING_KEYS": f"{NEXT_KEY},{THIS_KEY}"}),
    ):
        sagas = house.shop.place_many(5)

        house.books.all_confirmed(sagas)

    signed_with = {
        (
            letter.properties["application_headers"]["task"],
            letter.properties["application_headers"]["ordersaga-signature"][:4],
        )
        for letter in letters
    }
    assert {
        ("signal.OrderPlaced", "this"),
        ("signal.StockReserved", "next"),
        ("signal.PaymentCharged", "this"),
        ("signal.StockShipped", "next"),
    } <= signed_with
