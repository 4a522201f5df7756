"""What may be ordered to make inventory misbehave; everything else in the same batch is innocent."""

from __future__ import annotations

FAILS_TWICE = "FAILS-TWICE"
"""To reserve it raises twice, then works."""
FAILS = "FAILS"
"""To reserve it never works."""
LEAKS_CUSTOMER = "LEAKS-CUSTOMER"
"""To reserve it fails with an error of the database that tells the customer."""
HANGS = "HANGS"
"""To reserve it never returns, and no database statement is to blame."""
SLOW_QUERY = "SLOW_QUERY"
"""To reserve it, a statement of the database never returns."""
KILLS = "KILLS"
"""To reserve it ends the process, as the kernel does when memory is short."""
PAUSES, PAUSES_TOO = "PAUSES", "PAUSES-TOO"
"""To reserve it stands still before the commit, while the switch PAUSES is on."""
UNDO_FAILS = "UNDO-FAILS"
"""To release it raises while the switch of this name is on."""
RESERVING_FAILS = "RESERVING_FAILS"
"""Not an article: while this switch is on, to reserve never works, whatever is ordered."""
UNSHIPPABLE = "UNSHIPPABLE"
"""To ship it never works."""

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
