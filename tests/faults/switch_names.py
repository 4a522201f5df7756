"""Names of the fault switches of inventory, in their own module because importing the steps replaces the real
ones.
"""

from __future__ import annotations

BAD_RELEASE = "bad-release"
"""While this switch is on, reserving raises for every order."""
HOLD = "hold-transaction"
"""While this switch is on, the first process that reserves keeps its transaction open."""
HELD = "transaction-held"
