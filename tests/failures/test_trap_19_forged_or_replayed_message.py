from __future__ import annotations

from typing import Any

from tests.support.installation import House
from tests.support.polling import eventually


def test_a_genuine_signature_does_not_serve_another_topic(house: House) -> None:
    with house.mail.overheard() as letters:
        saga = house.shop.place("TEA")
        house.books.all_confirmed([saga])
    genuine = next(letter for letter in letters if _header(letter, "task") == "signal.StockReserved")
    dead = len(house.books.desk())

    genuine.properties["application_headers"]["task"] = "refusal.StockReserved"
    house.mail.deliver(genuine, "payments")

    eventually(lambda: len(house.books.desk()) == dead + 1, 30, "the dead letter")
    assert house.books.saga(saga).status == "CONFIRMED"


def test_a_replay_is_harmless(house: House) -> None:
    with house.mail.overheard() as letters:
        saga = house.shop.place("TEA")
        house.books.all_confirmed([saga])
        house.books.are_clean()
    story = house.books.trail(saga)

    for letter in list(letters):
        for name in ("orders", "inventory", "payments", "audit"):
            if _heard_by(letter, name):
                house.mail.deliver(letter, name)
    house.books.all_confirmed([house.shop.place("TEA")])

    eventually(lambda: not any(house.rabbitmq.unsettled(house.vhost).values()), 30, "all queues empty")
    assert house.books.trail(saga) == story
    assert house.books.money(saga) == [("charge", -450)]
    assert house.books.movements(saga) == [("TEA", "held", 1), ("TEA", "shipped", 1)]


def _header(letter: Any, name: str) -> Any:
    return letter.properties["application_headers"][name]


def _heard_by(letter: Any, name: str) -> bool:
    hears = {
        "signal.OrderPlaced": {"inventory"},
        "signal.StockReserved": {"payments"},
        "signal.PaymentCharged": {"orders"},
        "signal.OrderConfirmed": {"inventory"},
        "signal.StockShipped": {"orders"},
    }
    return name == "audit" or name in hears.get(_header(letter, "task"), set())
