"""FaultSwitches of the faulty inventory. Importing its steps replaces the real ones in the process, so the names
stand apart.
"""

from __future__ import annotations

BAD_RELEASE = "bad-release"
"""While this switch is on, reserving raises for every order."""
HOLD = "hold-transaction"
"""While this switch is on, the first process that reserves keeps its transaction open."""
HELD = "transaction-held"
