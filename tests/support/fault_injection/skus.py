"""SKUs that make inventory fail. Other orders of the same batch are not affected."""

from __future__ import annotations

FAILS_TWICE = "FAILS-TWICE"
"""Reserving raises twice, then succeeds."""
FAILS = "FAILS"
"""Reserving always raises."""
LEAKS_CUSTOMER = "LEAKS-CUSTOMER"
"""Reserving raises a database error whose message contains the customer."""
HANGS = "HANGS"
"""Reserving never returns, outside the database."""
SLOW_QUERY = "SLOW_QUERY"
"""Reserving runs a statement that never returns."""
KILLS = "KILLS"
"""Reserving kills the process, as the kernel does when memory is short."""
PAUSES, PAUSES_TOO = "PAUSES", "PAUSES-TOO"
"""Reserving blocks before the commit while the switch PAUSES is on."""
UNDO_FAILS = "UNDO-FAILS"
"""Releasing raises while the switch of this name is on."""
RESERVING_FAILS = "RESERVING_FAILS"
"""A switch, not a SKU: while it is on, reserving raises for every order."""
UNSHIPPABLE = "UNSHIPPABLE"
"""Shipping always raises."""

FAULTY_SKUS = (
    FAILS_TWICE,
    FAILS,
    LEAKS_CUSTOMER,
    HANGS,
    SLOW_QUERY,
    KILLS,
    PAUSES,
    PAUSES_TOO,
    UNDO_FAILS,
    UNSHIPPABLE,
)
