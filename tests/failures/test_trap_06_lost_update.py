from __future__ import annotations

from tests.support.installation import House


def test_five_units_are_sold_to_five_of_twenty_customers_by_two_processes(house: House) -> None:
    house.shop.stock("SCARCE", 5)

    sagas = [house.shop.place("SCARCE") for _ in range(20)]

    assert house.books.all_ended(sagas) == {"CONFIRMED": 5, "ROLLED_BACK": 15}
    assert house.books.product("SCARCE") == {"on_hand": 0, "held": 0, "sold": 5}
