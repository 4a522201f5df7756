from __future__ import annotations

from tests.support.fault_injection.goods import FAILS
from tests.support.installation import House


def test_of_a_hundred_orders_in_one_envelope_one_is_bad_and_ninety_nine_do_not_notice(house: House) -> None:
    bad, *good = house.shop.place_all([[FAILS], *[["TEA"]] * 99])

    house.books.all_confirmed(good)
    house.books.all_rolled_back([bad])
    house.books.are_clean()

    assert house.books.trail(bad).count("inventory: failed") == 3
    [(noticed,)] = house.books.ask(
        "orders",
        "SELECT count(*) FROM audit_sagaevent WHERE name = 'failed' AND saga_id = ANY(%s::uuid[])",
        good,
    )
    assert noticed == 0
