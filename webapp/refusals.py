"""An operator's act that cannot be done (any more)."""

from __future__ import annotations


class ActRefused(Exception):
    """Nothing was done; the message says why and what to do instead."""
