"""Many orders in one envelope, and one of them is bad."""

from __future__ import annotations

from tests.support.fault_injection.goods import FAILS
from tests.support.installation import House


def test_one_bad_order_in_a_batch_of_fifty(house: House) -> None:
    bad, *good = house.shop.place_all([[FAILS], *[["TEA"]] * 49])

    house.books.all_confirmed(good)
    house.books.all_rolled_back([bad])

    assert house.books.saga(bad).reason == "Step inventory.reserve_stock failed: Unruly"
    assert all(house.books.dead_letters("inventory", saga) == [] for saga in good)
