"""By hand: how many orders, and the three databases."""

from __future__ import annotations

import sys

from tests.support.bulk_data import fill

fill(int(sys.argv[1]), sys.argv[2:5], tell=lambda seconds, what: print(f"{seconds:6.1f} s  {what}"))  # noqa: T201 - run by hand
