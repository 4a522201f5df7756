from __future__ import annotations

from tests.support.installation import House


def test_a_card_is_charged_once_though_every_message_comes_three_times(house: House) -> None:
    with house.mail.copied(2):
        saga = house.shop.place("TEA")
        house.books.all_confirmed([saga])
        house.books.are_clean()

    assert house.books.money(saga) == [("charge", -450)]
    assert house.books.movements(saga) == [("TEA", "held", 1), ("TEA", "shipped", 1)]
    assert house.books.trail(saga).count("payments: PaymentCharged") == 1
