from __future__ import annotations

from tests.support.installation import Installation


def test_two_processes_sell_five_units_to_five_customers(installation: Installation) -> None:
    installation.factory.add_product("SCARCE", 5)

    sagas = [installation.factory.place("SCARCE") for _ in range(20)]

    assert installation.probe.wait_until_ended(sagas) == {"CONFIRMED": 5, "ROLLED_BACK": 15}
    assert installation.probe.stock_counters("SCARCE") == {"on_hand": 0, "held": 0, "sold": 5}
