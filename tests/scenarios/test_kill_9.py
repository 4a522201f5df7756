"""A pool is killed under load: no order is lost or rolled back."""

from __future__ import annotations

import pytest

from tests.support.installation import Installation
from tests.support.pools import PARTICIPANTS


@pytest.mark.parametrize("name", PARTICIPANTS)
def test_a_pool_killed_under_load_loses_no_order(installation: Installation, name: str) -> None:
    sagas = []
    for number in range(30):
        sagas += installation.factory.place_many(5, "TEA", "MUG")
        if number == 8:
            installation.pools[name].kill()
        if number == 16:
            installation.pools[name].start(wait=False)

    installation.probe.wait_until_confirmed(sagas, timeout=120)
