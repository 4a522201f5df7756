"""Fills three databases: the number of orders, and three URLs."""

from __future__ import annotations

import sys

from tests.support.bulk_data import fill

fill(int(sys.argv[1]), sys.argv[2:5], report=lambda seconds, what: print(f"{seconds:6.1f} s  {what}"))  # noqa: T201 - run by hand
