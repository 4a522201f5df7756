from __future__ import annotations

from tests.support.house import House


def test_five_units_are_sold_to_five_of_twenty_customers_by_two_processes(house: House) -> None:
    house.shop.stock("SCARCE", 5)

    sagas = [house.shop.place("SCARCE") for _ in range(20)]

    assert house.books.all_ended(sagas) == {"CONFIRMED": 5, "ROLLED_BACK": 15}
    assert house.books.product("SCARCE") == {"on_hand": 0, "held": 0, "sold": 5}


def test_of_two_processes_that_charge_one_wallet_none_forgets_the_other(house: House) -> None:
    before = house.books.balance("bob")
    with house.besides("payments", kind="prefork", concurrency=2):
        sagas = [house.shop.place("TEA", customer="bob") for _ in range(20)]
        house.books.all_confirmed(sagas)

    assert house.books.balance("bob") == before - 20 * 450
