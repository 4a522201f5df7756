from __future__ import annotations

from tests.support.fault_injection.skus import FAILS
from tests.support.installation import Installation


def test_one_bad_order_of_a_hundred_does_not_affect_the_others(
    installation: Installation,
) -> None:
    bad, *good = installation.factory.place_all([[FAILS], *[["TEA"]] * 99])

    installation.probe.wait_until_confirmed(good)
    installation.probe.wait_until_rolled_back([bad])
    installation.probe.wait_until_clean()

    assert installation.probe.audit_trail(bad).count("inventory: failed") == 3
    [(noticed,)] = installation.probe.query(
        "orders",
        "SELECT count(*) FROM audit_sagaevent WHERE name = 'failed' AND saga_id = ANY(%s::uuid[])",
        good,
    )
    assert noticed == 0
