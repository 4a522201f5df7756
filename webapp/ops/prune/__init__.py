"""Forgetting what ended long ago, so that journals, packs and the audit trail do not grow for ever.

What goes and what stays is told in docs/decisions/pruning.md. ``sql`` has the statements, ``databases`` the
connections, ``sagas`` and ``packs`` the two walks, ``letters`` what dead letters keep, ``pruning`` the whole.
"""

from webapp.ops.prune.databases import Databases
from webapp.ops.prune.run import Pruned, prune

__all__ = ["Databases", "Pruned", "prune"]
