"""One bad order in an envelope of many."""

from __future__ import annotations

from tests.support.fault_injection.skus import FAILS
from tests.support.installation import Installation


def test_one_bad_order_of_fifty_fails_alone(installation: Installation) -> None:
    bad, *good = installation.factory.place_all([[FAILS], *[["TEA"]] * 49])

    installation.probe.wait_until_confirmed(good)
    installation.probe.wait_until_rolled_back([bad])

    assert installation.probe.saga(bad).reason == "Step inventory.reserve_stock failed: InjectedFault"
    assert all(installation.probe.participant_dead_letters("inventory", saga) == [] for saga in good)
